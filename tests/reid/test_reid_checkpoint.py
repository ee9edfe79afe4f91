"""Checkpoints: round trip, safe loading, atomic writing, and what a wrong file is called."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from kd_yolo.base import files as atomic
from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.reid.model.checkpoint import Checkpoint, check_identities, load_checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import NetworkConfig

CONFIG = NetworkConfig(backbone="resnet18", height=64, width=32, num_identities=3, embedding=16, head="cosface")
IMAGE = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> ReIDModel:
    torch.manual_seed(0)
    model = ReIDModel(CONFIG)
    model(IMAGE)
    return model.eval()


@pytest.fixture(scope="module")
def file(model: ReIDModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    extra = {"settings": {"rates": [1e-3, None], "mean": torch.ones(2)}, "pruned": {"from": "x.pt", "factor": 0.2}}
    checkpoint = Checkpoint(model.config, model.state_dict(), [7, 9, "0012"], {"mAP": 0.5}, epoch=4, extra=extra)
    return save_checkpoint(tmp_path_factory.mktemp("deep") / "weights" / "best.pt", checkpoint)


def test_round_trip(model: ReIDModel, file: Path) -> None:
    loaded = load_checkpoint(file, backbone="resnet18")
    assert loaded.config == CONFIG
    assert (list(loaded.identities), loaded.metrics, loaded.epoch) == ([7, 9, "0012"], {"mAP": 0.5}, 4)
    assert torch.equal(loaded.extra["settings"]["mean"], torch.ones(2))
    other = ReIDModel.load(file)
    assert not other.training
    assert other.weights_note == f"resnet18: weights of {file}."
    with torch.no_grad():
        assert torch.equal(other(IMAGE), model(IMAGE))
        assert torch.equal(other.logits(other.features(IMAGE)), model.logits(model.features(IMAGE)))


def test_the_file_is_plain_values(file: Path) -> None:
    values = torch.load(file, weights_only=True)
    assert values["format"] == "kd-yolo reid"
    assert values["version"] == 1
    assert values["config"]["backbone"] == "resnet18"
    pickled = zipfile.ZipFile(file).read(next(n for n in zipfile.ZipFile(file).namelist() if n.endswith("data.pkl")))
    assert b"kd_yolo.reid" not in pickled


def test_only_plain_values_are_written(model: ReIDModel, tmp_path: Path) -> None:
    for extra, where in (
        ({"a": [{"b": np.float64(1)}]}, r"checkpoint\['extra'\]\['a'\]\[0\]\['b'\] is a numpy.float64"),
        ({"path": Path("x")}, r"checkpoint\['extra'\]\['path'\] is a pathlib"),
        ({(1, Path("x")): 0}, r"a key of checkpoint\['extra'\]\[1\] is a pathlib"),
    ):
        with pytest.raises(ConfigError, match=f"{where}.*cannot hold safely"):
            save_checkpoint(tmp_path / "x.pt", Checkpoint(CONFIG, {}, extra=extra))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_previous_file(
    model: ReIDModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path / "last.pt", Checkpoint(CONFIG, {}, epoch=1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(KDYoloError, match=r"last.pt could not be written: No space left on device.*unharmed"):
        save_checkpoint(path, Checkpoint(CONFIG, {}, epoch=2))
    monkeypatch.undo()
    assert load_checkpoint(path).epoch == 1
    assert [x.name for x in tmp_path.iterdir()] == ["last.pt"]


def written(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def fake_yolo(path: Path) -> Path:
    """A pickle that names a class of ultralytics, in torch's archive."""
    buffer = io.BytesIO()
    torch.save({"model": 1}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                data = b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n)\x81."
            target.writestr(name, data)
    return path


def test_wrong_files(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.pt"
    page.write_bytes(b"<!DOCTYPE html><html>404</html>")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(file.read_bytes()[:-2000])
    script = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(script))
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Path("x")))
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a.txt", "x")
    bare = written(tmp_path / "r18.pt", torchvision.models.resnet18(weights=None).state_dict())
    for path, text in (
        (tmp_path / "gone.pt", "network .*gone.pt' cannot be opened: No such file"),
        (tmp_path, "is a folder, expected a file"),
        (page, "is a web page, not a checkpoint"),
        (cut, "is damaged or was cut off"),
        (script, "is an exported TorchScript file"),
        (tmp_path / "empty.pt", r"is empty \(0 bytes\)"),
        (tmp_path / "text.pt", "is not a PyTorch checkpoint .first bytes b'hello'"),
        (tmp_path / "lfs.pt", "Git LFS pointer"),
        (tmp_path / "pickle.pt", "holds more than plain values and tensors, and is not loaded|damaged"),
        (tmp_path / "zip.pt", "zip archive, but not one that PyTorch wrote"),
        (fake_yolo(tmp_path / "yolo.pt"), "is a YOLO checkpoint of ultralytics, not a ReID network"),
        (bare, "holds bare weights of resnet18, not a ReID checkpoint.*network.pretrained="),
        (written(tmp_path / "list.pt", [1]), "is not a ReID checkpoint: give a .pt"),
        (written(tmp_path / "dict.pt", {"a": 1}), "is not a ReID checkpoint: give a .pt"),
    ):
        with pytest.raises(InputError, match=text):
            load_checkpoint(path)


def changed(file: Path, path: Path, **changes: Any) -> Path:
    return written(path, {**torch.load(file, weights_only=True), **changes})


def test_other_backbone_version_and_weights(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"with backbone 'resnet18', expected 'resnet50': set network.backbone=resnet18"
    ):
        ReIDModel.load(file, backbone="resnet50")
    with pytest.raises(InputError, match=r"version 2, this kd-yolo reads up to 1: update kd-yolo"):
        load_checkpoint(changed(file, tmp_path / "new.pt", version=2))
    with pytest.raises(InputError, match=r"lacks or has what a ReID checkpoint does not .*unknown key 'config.depth'"):
        load_checkpoint(changed(file, tmp_path / "depth.pt", config={"depth": 3}))
    config = {**CONFIG.model_dump(), "embedding": 8}
    with pytest.raises(InputError, match=r"are not those of the network that it describes: .*of another shape"):
        ReIDModel.load(changed(file, tmp_path / "narrow.pt", config=config))


def test_identities() -> None:
    check_identities([1, 2, 3], (1, 2, 3))
    for teacher, student, text in (
        ([1, 2, 3, 4, 5], [3], r"teacher knows 5 identities, the student 1; 4 only the teacher \(1, 2, 4, \.\.\.\)"),
        ([1], [1, 8], r"1 only the student \(8\)\. Soft labels need the same"),
        (
            [1, 2, 3],
            [1, 3, 2],
            "same but in another order or repeated: row 1 is 2 for the teacher and 3 for the student",
        ),
        ([1, 2], [1, 2, 2], "row 2 is missing for the teacher and 2 for the student"),
        ([1], ["1"], r"1 only the teacher \(1\); 1 only the student \(1\)"),
    ):
        with pytest.raises(InputError, match=text):
            check_identities(teacher, student)
