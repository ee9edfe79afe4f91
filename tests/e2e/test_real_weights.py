"""Official weights, real images: every loss trains, its column is finite and positive, its gradient arrives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.losses import loss_names

pytestmark = pytest.mark.e2e
RUN: dict[str, Any] = dict(
    epochs=1, imgsz=160, batch=8, device="cpu", workers=0, plots=False, verbose=False, optimizer="AdamW", lr0=1e-4,
    warmup_epochs=0, val=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def coco(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A writable copy: ultralytics writes label caches beside the labels."""
    folder = tmp_path_factory.mktemp("data") / "coco128"
    shutil.copytree(shared / "data" / "coco128", folder, copy_function=shutil.copyfile)
    return folder / "data.yaml"


@pytest.mark.parametrize("loss", [*loss_names(), "cwd+bkd", "mgd_bottleneck", "shipped"])
def test_every_loss_on_coco_classes(shared: Path, coco: Path, tmp_path: Path, loss: str) -> None:
    arrived: dict[str, float] = {}

    def separate(trainer: Any) -> None:
        """The gradient of the distillation term alone at the first convolution, in the first batch."""
        if arrived:
            return
        batch = next(iter(trainer.train_loader))
        batch = trainer.preprocess_batch(batch)
        vector, items = trainer.model(batch)
        first = next(p for p in trainer.model.model[0].parameters())
        gradient = torch.autograd.grad(vector[-1], first)[0]
        arrived.update({"gradient": float(gradient.abs().sum())}, **{k: float(v) for k, v in items.items()})

    student = YOLO(str(shared / "weights" / "yolov8n.pt"))
    student.add_callback("on_train_epoch_start", separate)
    student.train(
        trainer=DistillationTrainer, teacher=str(shared / "weights" / "yolov8s.pt"), loss=loss, data=str(coco),
        project=str(tmp_path), name="run", **RUN,
    )  # fmt: skip
    columns = [k for k in arrived if k.startswith("kd_")]
    assert columns
    assert all(0 < arrived[k] < float("inf") for k in columns), arrived
    assert 0 < arrived["gradient"] < float("inf")
    assert all(0 < float(student.trainer.tloss[k]) < float("inf") for k in columns)
