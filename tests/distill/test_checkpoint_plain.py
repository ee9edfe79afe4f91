"""Checkpoints hold the plain student: nothing of ours in them, and they open where this package is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

Train = Callable[..., Any]

# Run with -I (no PYTHONPATH, no working directory on the path), with our package blocked wherever it is installed.
PLAIN = """
import sys
sys.modules["kd_yolo"] = sys.modules["ray"] = None  # upstream imports ray for callbacks when it is there
import torch
torch.set_num_threads(1)
from ultralytics import YOLO
from ultralytics.nn import tasks
for file in {files!r}:
    for tasks.SAFE_LOAD in (True, False):
        model = YOLO(file)
        assert not [name for name, _ in model.model.named_modules() if "kd" in name]
    metrics = model.val(data={data!r}, imgsz=64, batch=4, device="cpu", plots=False, workers=0, project={out!r})
    assert metrics.box.map50 >= 0
    assert model.predict({image!r}, imgsz=64, device="cpu", verbose=False, save=False)[0].boxes is not None
    print("PLAIN", type(model.model).__module__, type(model.model).__name__)
"""


@pytest.fixture(scope="module")
def run(train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run with adapters, generators and taps beside the head; keeps a copy of its files before the end."""
    kept: dict[str, bytes] = {}

    def keep(trainer: Any) -> None:
        kept.update({file.name: file.read_bytes() for file in trainer.wdir.iterdir()})

    trainer = train_into(tmp_path_factory.mktemp("plain"))(
        loss=[{"loss": "mgd", "taps": [2, 4], "params": {"bottleneck": 8}}, {"loss": "bkd"}], epochs=2, save_period=1,
        on={"on_model_save": keep},
    )  # fmt: skip
    for name, content in kept.items():
        (trainer.wdir / f"kept-{name}").write_bytes(content)
    return trainer


def files(run: Any) -> list[Path]:
    found = sorted(run.wdir.iterdir())
    names = ("best.pt", "last.pt", "epoch0.pt", "epoch1.pt")
    assert {f.name for f in found} == {*names, *(f"kept-{name}" for name in names)}
    return found


def test_every_checkpoint_holds_a_plain_detection_model(run: Any, tiny_yaml: Any) -> None:
    reference = {k: v.shape for k, v in DetectionModel(tiny_yaml(), nc=2, verbose=False).state_dict().items()}
    for file in files(run):
        ckpt = torch.load(file, weights_only=False)
        model = ckpt["ema"] or ckpt["model"]
        assert type(model) is DetectionModel
        assert {k: v.shape for k, v in model.state_dict().items()} == reference, file
        for module in model.modules():
            assert not any(child is None for child in module._modules.values()), file
            assert not any("kd_" in key for key in [*module.__dict__, *module._modules, *module._parameters]), file
            assert not module._forward_hooks
        assert model.__dict__.get("criterion") is None


def test_no_class_of_ours_is_named_in_a_checkpoint(run: Any) -> None:
    for file in files(run):
        pickled = zipfile.ZipFile(file)
        data = pickled.read(next(n for n in pickled.namelist() if n.endswith("data.pkl")))
        assert b"kd_yolo.distill" not in data, file
        assert b"kd_yolo.losses" not in data, file


def test_a_finished_student_carries_no_settings_of_ours(run: Any) -> None:
    for name in ("best.pt", "last.pt"):
        ckpt = torch.load(run.wdir / name, weights_only=False)
        assert "kd" not in ckpt["train_args"]
        assert "kd" not in dict(ckpt["model"].args)
        assert ckpt["kd_yolo"] == {"config": run.kd_config.model_dump()}  # where it comes from
        assert ckpt["optimizer"] is None
        assert ckpt["ema"] is None


@pytest.fixture(scope="module")
def again(run: Any, train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What ultralytics' own trainer makes of the finished student."""
    return train_into(tmp_path_factory.mktemp("again"))(plain=True, model=str(run.best), epochs=1)


def test_a_finished_student_is_not_larger_than_a_plain_one(run: Any, again: Any) -> None:
    assert run.best.stat().st_size < again.best.stat().st_size + 10_000  # terms are 30 kB here, an optimizer more


@pytest.mark.slow
def test_opens_without_this_package(run: Any, tiny_data: Path, tmp_path: Path) -> None:
    """The finished student, and the last.pt of a run that was cut off."""
    image = next((tiny_data.parent / "images" / "val").iterdir())
    names = [str(run.wdir / name) for name in ("best.pt", "kept-last.pt")]
    script = PLAIN.format(files=names, data=str(tiny_data), image=str(image), out=str(tmp_path))
    environment = {**os.environ, "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("PLAIN ultralytics.nn.tasks DetectionModel") == 2


def test_fuses_exports_and_trains_on(run: Any, again: Any) -> None:
    best = YOLO(str(run.best))
    image = torch.rand(1, 3, 64, 64)
    before = best.model.eval()(image)[0]
    exported = best.export(format="torchscript", imgsz=64, device="cpu")
    assert torch.allclose(torch.jit.load(exported)(image), before, atol=1e-2)
    assert torch.allclose(best.model.fuse(verbose=False)(image)[0], before, atol=1e-2)
    assert isinstance(again.model, nn.Module)
    assert again.best.is_file()
