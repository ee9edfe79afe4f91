"""Pruned networks made by hand, and training runs of a second."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from kd_yolo.training.trainers import RetrainTrainer
from tests.light import examined_once, train_yolo
from tests.training.networks import narrow

Train = Callable[..., Any]


@pytest.fixture(autouse=True, scope="module")
def _files_are_examined_once() -> Iterator[None]:
    with examined_once():
        yield


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """An untrained model, pruned by hand or as its YAML says."""

    def make(yaml: str = "yolov8n.yaml", *, classes: int = 2, pruned: bool = False, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        kind: Any = type(YOLO(yaml).model)
        model = kind(yaml, nc=classes, verbose=False)
        return narrow(model) if pruned else model

    return make


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory, build: Callable[..., Any]) -> Callable[..., str]:
    """Writes what ``build`` makes, once."""
    folder = tmp_path_factory.mktemp("weights")

    def write(yaml: str = "yolov8n.yaml", *, classes: int = 2, pruned: bool = False) -> str:
        path = folder / f"{Path(yaml).stem}-{classes}{'-pruned' * pruned}.pt"
        if not path.is_file():
            yolo = YOLO(yaml)
            yolo.model = build(yaml, classes=classes, pruned=pruned)
            yolo.save(str(path))
        return str(path)

    return write


@pytest.fixture(scope="session")
def stock(save: Callable[..., str], tiny_yaml: Callable[..., str]) -> str:
    """Weights of a small network that are as its YAML says."""
    return save(tiny_yaml(16))


@pytest.fixture(scope="session")
def pruned(save: Callable[..., str], tiny_yaml: Callable[..., str]) -> str:
    """Weights of a small network that are narrower than its YAML says."""
    return save(tiny_yaml(16), pruned=True)


@pytest.fixture(scope="session")
def train_into(tiny_data: Path) -> Callable[[Path], Train]:
    """``train`` with run folders inside a given folder, for fixtures that several tests share."""

    def into(folder: Path) -> Train:
        def run(
            model: str,
            *,
            on: dict[str, Any] | None = None,
            trainer: Any = RetrainTrainer,
            finish: bool = True,
            save: bool = False,
            **arguments: Any,
        ) -> Any:
            defaults: dict[str, Any] = dict(
                data=str(tiny_data), epochs=2, imgsz=64, batch=4, device="cpu", workers=0, plots=False, verbose=False,
                optimizer="SGD", lr0=0.01, nbs=4, warmup_epochs=0, project=str(folder), name="run", exist_ok=True,
            )  # fmt: skip
            if "resume" in arguments:  # the checkpoint knows the rest, and batch or imgsz would change it
                defaults = {}
            return train_yolo(model, trainer, {**defaults, **arguments}, on=on, finish=finish, save=save)

        return run

    return into


@pytest.fixture
def train(train_into: Callable[[Path], Train], tmp_path: Path) -> Train:
    """Trains for a second and returns the trainer; ``on`` takes callbacks by event, ``finish=False`` does not validate.

    Such a run keeps no checkpoints either, unless it is told to ``save``.
    """
    return train_into(tmp_path)


@pytest.fixture
def plain(train: Train) -> Train:
    """The same with ultralytics' own trainer."""
    return lambda *args, **kwargs: train(*args, **{"trainer": DetectionTrainer, **kwargs})


@pytest.fixture(scope="session")
def rows() -> Callable[[Any], list[dict[str, str]]]:
    """The rows of a run's results.csv, without the column of times."""

    def read(folder: Path) -> list[dict[str, str]]:
        with (Path(folder) / "results.csv").open() as file:
            return [{k: v for k, v in row.items() if k != "time"} for row in csv.DictReader(file)]

    return read


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ultralytics' logger is told during a test; it does not propagate to pytest's caplog."""
    from ultralytics.utils import LOGGER

    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(LOGGER, level, lambda message, *_a, **_k: lines.append(str(message)))
    return lines
