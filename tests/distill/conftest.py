"""Tiny students and teachers, and a training run of a few seconds."""

from __future__ import annotations

import csv
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer

from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.training.stage import open_network, task_of
from tests.light import files_are_examined_once, train_yolo

__all__ = ["files_are_examined_once"]  # a fixture

Train = Callable[..., Any]


@cache
def _built(yaml: str, classes: int, channels: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = open_network(yaml, task_of(yaml))
    build: Any = type(model.model)
    built = build(yaml, nc=classes, ch=channels, verbose=False)
    _calibrate(built, channels)
    return built  # type: ignore[no-any-return]


def _calibrate(model: nn.Module, channels: int) -> None:
    """Fits BatchNorm's statistics: without, features of an untrained model in eval mode are all but 0."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(4, channels, 128, 128))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_var.clamp_(min=0.05)  # a channel that was dead on these images would explode on others


@pytest.fixture(scope="session")
def described(tiny_yaml: Callable[..., str]) -> Callable[[str], str]:
    """The YAML of a network: ``tiny16`` is a tiny one, ``tiny16-v10Detect`` has that head."""

    def find(name: str) -> str:
        width, _, head = name.removeprefix("tiny").partition("-")
        return tiny_yaml(int(width), head=head or "Detect") if name.startswith("tiny") and width.isdigit() else name

    return find


@pytest.fixture(scope="session")
def build(described: Callable[[str], str]) -> Callable[..., Any]:
    """Untrained models in memory; every call gives a copy of its own."""

    def make(name: str = "tiny16", *, classes: int = 2, channels: int = 3, seed: int = 0) -> Any:
        return deepcopy(_built(described(name), classes, channels, seed))

    return make


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory, described: Callable[[str], str]) -> Callable[..., str]:
    """Writes weights of an untrained model, once for each YAML and class count."""
    folder = tmp_path_factory.mktemp("weights")

    def make(name: str, classes: int = 2, seed: int = 0, channels: int = 3) -> str:
        yaml = described(name)
        path = folder / f"{Path(yaml).stem}-{classes}-{seed}-{channels}.pt"
        if not path.is_file():
            model = open_network(yaml, task_of(yaml))
            model.model = deepcopy(_built(yaml, classes, channels, seed))
            model.save(str(path))
        return str(path)

    return make


@pytest.fixture(scope="session")
def teacher(make_weights: Callable[..., str], tiny_yaml: Callable[..., str]) -> str:
    """A teacher that is wider than the student, with the tiny data's classes."""
    return make_weights(tiny_yaml(16), seed=1)


@pytest.fixture(scope="session")
def student(make_weights: Callable[..., str], tiny_yaml: Callable[..., str]) -> str:
    """The student's initial weights."""
    return make_weights(tiny_yaml(8))


@pytest.fixture(scope="session")
def train_into(tiny_data: Path, teacher: str, student: str) -> Callable[[Path], Train]:
    """``train`` with run folders inside a given folder, for fixtures that several tests share."""

    def into(folder: Path) -> Train:
        def run(
            *,
            plain: bool = False,
            finish: bool = True,
            save: bool = False,
            model: str = student,
            on: dict[str, Any] | None = None,
            **arguments: Any,
        ) -> Any:
            defaults: dict[str, Any] = dict(
                data=str(tiny_data), epochs=2, imgsz=64, batch=4, device="cpu", workers=0, plots=False, verbose=False,
                optimizer="SGD", lr0=0.01, nbs=4, warmup_epochs=0, project=str(folder), name="run", exist_ok=True,
            )  # fmt: skip
            kind = arguments.pop("trainer", DetectionTrainer if plain else DistillationTrainer)
            if not plain and "resume" not in arguments:
                defaults |= dict(teacher=teacher, loss="cwd")
            if "resume" in arguments:  # the checkpoint knows the rest, and batch or imgsz would change it
                defaults = {}
            return train_yolo(model, kind, {**defaults, **arguments}, on=on, finish=finish, save=save)

        return run

    return into


@pytest.fixture
def train(train_into: Callable[[Path], Train], tmp_path: Path) -> Train:
    """Trains for a second, returns the trainer; ``on`` takes callbacks by event, ``finish=False`` does not validate.

    Such a run keeps no checkpoints either, unless it is told to ``save``.
    """
    return train_into(tmp_path)


@pytest.fixture(scope="session")
def rows() -> Callable[[Any], list[dict[str, str]]]:
    """The rows of a run's results.csv."""

    def read(trainer: Any) -> list[dict[str, str]]:
        with Path(trainer.csv).open() as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ultralytics' logger is told during a test; it does not propagate to pytest's caplog."""
    from ultralytics.utils import LOGGER

    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(LOGGER, level, lambda message, *_a, **_k: lines.append(str(message)))
    return lines
