"""Validation equals ``yolo val``, is quiet, leaves nothing behind, and refuses what means nothing."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.engine import validator
from ultralytics.nn.tasks import ClassificationModel, DetectionModel, RTDETRDetectionModel

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.yolo import evaluate
from kd_yolo.yolo.evaluate import validate
from kd_yolo.yolo.files.saving import save_atomically

TINY = {"imgsz": 64, "batch": 4, "device": "cpu"}


def grid_model() -> Any:
    """A network that answers a 24 px box of class 0 or 1 at every cell, whatever it sees: some hit by chance."""
    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    head = model.model[-1]
    for stride, box, cls in zip(head.stride.tolist(), head.cv2, head.cv3, strict=True):
        torch.nn.init.zeros_(box[-1].weight)
        side = torch.full((16,), -8.0)
        low = int(12 / stride)
        side[low], side[low + 1] = 4 + np.log(1 - 12 / stride % 1), 4 + np.log(12 / stride % 1 + 1e-6)
        box[-1].bias.data = side.repeat(4)
        cls[-1].bias.data = torch.tensor([0.3, 0.0])
    model.names = {0: "c0", 1: "c1"}
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_atomically({"model": grid_model()}, tmp_path_factory.mktemp("grid") / "grid.pt")


def test_equals_yolo_val(weights: Path, tiny_data: Path, tmp_path: Path) -> None:
    expected = YOLO(str(weights)).val(
        data=str(tiny_data), project=str(tmp_path), name="val", plots=False, verbose=False, workers=0, **TINY
    )
    found = validate(weights, tiny_data, **TINY)
    assert found["metrics/mAP50(B)"] > 0.001
    assert found == pytest.approx({key: float(value) for key, value in expected.results_dict.items()}, abs=1e-9)


def test_a_model_is_not_touched_and_gives_the_same(weights: Path, tiny_data: Path) -> None:
    model = grid_model().train()
    before = copy.deepcopy(model.state_dict())
    assert validate(model, tiny_data, **TINY) == validate(weights, tiny_data, **TINY)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_is_quiet_and_leaves_nothing(
    weights: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(validator, "get_save_dir", lambda *_: pytest.fail("a run folder was asked for"))
    validate(weights, tiny_data, **TINY)
    assert list(tmp_path.iterdir()) == []
    assert list(weights.parent.iterdir()) == [weights]
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


def test_other_classes_are_refused(weights: Path, tmp_path: Path) -> None:
    from tests.conftest import write_tiny_data

    data = write_tiny_data(tmp_path / "three", classes=3)
    with pytest.raises(InputError, match=r"grid\.pt has 2 classes, .*data\.yaml has 3"):
        validate(weights, data, **TINY)


def test_a_split_that_is_not_there_is_refused(weights: Path, tiny_data: Path) -> None:
    with pytest.raises(InputError, match=r"no images in its split 'test'\. It has: train, val"):
        validate(weights, tiny_data, split="test", **TINY)


def test_missing_files_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        validate(weights, tmp_path / "none.yaml", **TINY)
    with pytest.raises(InputError, match="do not exist"):
        validate(tmp_path / "none.pt", tmp_path / "none.yaml", **TINY)


def test_a_task_without_validator_is_refused(tiny_data: Path) -> None:
    model = grid_model()
    model.task = "depth"
    with pytest.raises(ConfigError, match="depth model"):
        validate(model, tiny_data, **TINY)


def test_classifiers_take_a_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name, colour in (("dark", 0), ("light", 255)):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                cv2.imwrite(str(tmp_path / split / name / f"{i}.png"), np.full((32, 32, 3), colour, np.uint8))
    model: Any = ClassificationModel("yolov8n-cls.yaml", nc=2, verbose=False)
    model.names = {0: "dark", 1: "light"}
    found = validate(model, tmp_path, imgsz=32, batch=2, device="cpu")
    assert found["metrics/accuracy_top5"] == 1
    model.names[2] = "grey"
    with pytest.raises(InputError, match="has 3 classes"):
        validate(model, tmp_path, imgsz=32, device="cpu")
    with pytest.raises(InputError, match="none does not exist"):
        validate(model, tmp_path / "none", imgsz=32, device="cpu")


@pytest.mark.slow
def test_rtdetr_has_a_validator_of_its_own(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = RTDETRDetectionModel("rtdetr-l.yaml", nc=2, verbose=False)
    model.names = {0: "c0", 1: "c1"}
    monkeypatch.setitem(evaluate.VALIDATORS, "detect", None)
    assert 0 <= validate(model, tiny_data, **TINY)["metrics/mAP50-95(B)"] <= 1


@pytest.mark.e2e
def test_official_weights_as_yolo_val_sees_them(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "data/coco128", tmp_path / "coco128", copy_function=shutil.copyfile)
    weights, data = shared / "weights/yolov8n.pt", tmp_path / "coco128/data.yaml"
    found = validate(weights, data, imgsz=640, device="cpu")
    expected = YOLO(str(weights)).val(data=str(data), imgsz=640, device="cpu", plots=False, project=str(tmp_path))
    assert found["metrics/mAP50-95(B)"] == pytest.approx(0.430, abs=0.005)
    assert found == pytest.approx({key: float(value) for key, value in expected.results_dict.items()}, abs=1e-6)
