"""The loader on files that are fine: the result is ultralytics' own, and every form that we write comes back."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import ultralytics.nn.tasks as tasks
from torch import nn
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from ultralytics.utils import DEFAULT_CFG_DICT, IterableSimpleNamespace
from ultralytics.utils.loss import v8DetectionLoss

from kd_yolo.base.errors import InputError, MissingDependencyError
from kd_yolo.yolo.files import unpickle
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict

pytestmark = pytest.mark.usefixtures("no_installs")


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", ["yolov8n.pt", "yolov8s.pt"])
def test_official_weights_equal_those_of_ultralytics_own_loader(shared_weights: Path, name: str) -> None:
    ours, checkpoint = load_checkpoint(shared_weights / name)
    theirs, their_checkpoint = tasks.load_checkpoint(shared_weights / name)
    assert same_weights(ours, theirs)
    assert checkpoint.keys() == their_checkpoint.keys()
    assert ours.args == {key: value for key, value in theirs.args.items() if key in DEFAULT_CFG_DICT}
    assert ours.pt_path == theirs.pt_path
    assert ours.task == theirs.task == "detect"
    assert torch.equal(ours.stride, theirs.stride)
    assert not ours.training
    assert [vars(a).get("inplace") for a in ours.modules()] == [vars(b).get("inplace") for b in theirs.modules()]
    with torch.inference_mode():
        image_nchw = torch.rand(1, 3, 64, 64)
        assert torch.equal(ours(image_nchw)[0], theirs(image_nchw)[0])


def trainer_checkpoint(model: nn.Module) -> dict[str, Any]:
    """What ultralytics' trainer saves, with what our trainers add."""
    ema = copy.deepcopy(model).half()
    ema.criterion = v8DetectionLoss(tiny_args(model))  # releases before 8.4.95 left it there
    ema.args = IterableSimpleNamespace(imgsz=64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return {
        "epoch": 3,
        "best_fitness": np.float64(0.5),
        "model": None,
        "ema": ema,
        "updates": 12,
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "train_args": {"imgsz": 64, "kd": {"loss": "cwd", "levels": [1, 2]}, "project": None},
        "train_metrics": {"fitness": np.float32(0.25)},
        "date": "2025-01-01T00:00:00",
        "kd": {
            "adapters": {"P3": torch.ones(2, 2).half()},
            "rng": ("MT19937", torch.arange(4), [1, 2**40], 624, 0.0),
            "torch_rng": torch.get_rng_state(),
            "path": Path("runs/distill"),
            "seen": {1, 2},
        },
    }


def tiny_args(model: nn.Module) -> nn.Module:
    trainee = copy.deepcopy(model)
    trainee.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5, cls_pw=0.0)
    return trainee


def test_checkpoint_of_our_trainer_comes_back_whole(tiny_model: nn.Module, tmp_path: Path) -> None:
    saved = trainer_checkpoint(tiny_model)
    torch.save(saved, tmp_path / "last.pt")
    model, checkpoint = load_checkpoint(tmp_path / "last.pt")
    assert next(model.parameters()).dtype == torch.float32
    assert same_weights(model, copy.deepcopy(saved["ema"]).float())
    assert model.args["kd"] == {"loss": "cwd", "levels": [1, 2]}
    assert model.args["imgsz"] == 64
    assert checkpoint["kd"]["rng"][0] == "MT19937"
    assert checkpoint["kd"]["path"] == Path("runs/distill")
    assert checkpoint["best_fitness"] == 0.5
    assert checkpoint["train_metrics"]["fitness"] == 0.25
    assert checkpoint["optimizer"] == saved["optimizer"]
    assert load_checkpoint_dict(tmp_path / "last.pt").keys() == saved.keys()


def test_fused_model_loads(tiny_model: nn.Module, tmp_path: Path) -> None:
    fused = copy.deepcopy(tiny_model).fuse(verbose=False)
    torch.save({"model": fused}, tmp_path / "fused.pt")  # fuse() leaves bound methods (forward_fuse) on the layers
    model, _ = load_checkpoint(tmp_path / "fused.pt")
    image_nchw = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(image_nchw)[0], fused(image_nchw)[0])


def test_bare_model_and_whole_classifier_load(tiny_model: nn.Module, tmp_path: Path) -> None:
    torch.save(tiny_model, tmp_path / "bare.pt")
    assert same_weights(load_checkpoint(tmp_path / "bare.pt")[0], tiny_model)
    classifier = copy.deepcopy(tiny_model)
    resize = Resize(64, interpolation=InterpolationMode.BILINEAR)
    classifier.transforms = Compose([resize, CenterCrop(64), ToTensor(), Normalize([0.0], [1.0])])
    torch.save({"model": classifier}, tmp_path / "cls.pt")
    assert len(load_checkpoint(tmp_path / "cls.pt")[0].transforms.transforms) == 4


def test_task_heads_that_pickle_a_method_load(tmp_path: Path) -> None:
    segmenter = tasks.SegmentationModel("yolov8n-seg.yaml", nc=1, verbose=False)
    segmenter.model[-1].detect = tasks.Detect.forward  # as releases of 2023 did
    torch.save({"model": segmenter, "train_args": {"task": "segment"}}, tmp_path / "seg.pt")
    model, _ = load_checkpoint(tmp_path / "seg.pt")
    assert model.task == "segment"
    assert model.model[-1].detect is tasks.Detect.forward


def test_legacy_file_of_plain_values_loads(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load_checkpoint_dict(tmp_path / "old.pt")["weights"], torch.ones(3))


def test_legacy_file_of_a_model_says_how_to_save_it_again(tiny_model: nn.Module, tmp_path: Path) -> None:
    torch.save({"model": tiny_model}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"old.pt is a model in PyTorch's format from before version 1.6.*save it"):
        load_checkpoint(tmp_path / "old.pt")
    assert same_weights(load_checkpoint(tmp_path / "old.pt", trust=True)[0], tiny_model)


def test_newer_pickle_protocol_says_how_to_save_it_again(tiny_model: nn.Module, tmp_path: Path) -> None:
    torch.save({"model": tiny_model}, tmp_path / "p4.pt", pickle_protocol=4)
    with pytest.raises(InputError, match="pickle protocol 4, safe loading reads 2: save it again"):
        load_checkpoint(tmp_path / "p4.pt")


def test_loading_leaves_torchs_allow_list_as_it_was(tiny_model: nn.Module, tmp_path: Path) -> None:
    torch.save({"model": tiny_model}, tmp_path / "x.pt")
    before = set(torch.serialization.get_safe_globals())
    load_checkpoint(tmp_path / "x.pt")
    assert set(torch.serialization.get_safe_globals()) == before


def test_trust_warns_of_what_it_allows(tiny_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(unpickle.LOGGER, "warning", said.append)
    torch.save({"model": tiny_model}, tmp_path / "x.pt")
    assert same_weights(load_checkpoint(tmp_path / "x.pt", trust=True)[0], tiny_model)
    assert len(said) == 1
    assert "--trust-weights" in said[0]
    assert "may run any code" in said[0]


def test_a_checkpoint_trained_for_int8_needs_modelopt(
    tiny_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd_yolo.base.extras.is_installed", lambda module: module != "modelopt")
    torch.save({"model": tiny_model, "modelopt": {"ranges": {}}}, tmp_path / "int8.pt")
    with pytest.raises(
        MissingDependencyError, match=r"quantize=8.*needs nvidia-modelopt.*pip install 'kd-yolo\[qat\]'"
    ):
        load_checkpoint(tmp_path / "int8.pt")
