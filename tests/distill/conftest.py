"""Tiny students and teachers, and a training run of a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from kd_yolo.distill.trainer import DistillationTrainer

Train = Callable[..., Any]


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes weights of an untrained model, once for each YAML and class count."""
    folder = tmp_path_factory.mktemp("weights")

    def make(yaml: str, classes: int = 2, seed: int = 0) -> str:
        path = folder / f"{Path(yaml).stem}-{classes}-{seed}.pt"
        if not path.is_file():
            from ultralytics.nn.tasks import DetectionModel

            torch.manual_seed(seed)
            model = YOLO(yaml)
            model.model = DetectionModel(yaml, nc=classes, verbose=False)
            model.save(str(path))
        return str(path)

    return make


@pytest.fixture(scope="session")
def teacher(make_weights: Callable[..., str]) -> str:
    """A teacher one size up, with the tiny data's classes."""
    return make_weights("yolov8s.yaml", seed=1)


@pytest.fixture(scope="session")
def student(make_weights: Callable[..., str]) -> str:
    """The student's initial weights."""
    return make_weights("yolov8n.yaml")


@pytest.fixture
def train(tiny_data: Path, tmp_path: Path, teacher: str, student: str) -> Train:
    """Trains for a few seconds and returns the trainer."""

    def run(*, plain: bool = False, model: str = student, on: dict[str, Any] | None = None, **arguments: Any) -> Any:
        yolo = YOLO(model)
        for event, callback in (on or {}).items():
            yolo.add_callback(event, callback)
        defaults: dict[str, Any] = dict(
            data=str(tiny_data), epochs=2, imgsz=64, batch=4, device="cpu", workers=0, plots=False, verbose=False,
            optimizer="SGD", lr0=0.01, warmup_epochs=0, project=str(tmp_path), name="run", exist_ok=True,
        )  # fmt: skip
        if not plain:
            defaults |= dict(trainer=DistillationTrainer)
        if not plain and "resume" not in arguments:
            defaults |= dict(teacher=teacher, loss="cwd")
        if "resume" in arguments:  # the checkpoint knows the rest, and batch or imgsz would change it
            defaults = dict(trainer=DistillationTrainer)
        yolo.train(**{**defaults, **arguments})
        return yolo.trainer

    return run
