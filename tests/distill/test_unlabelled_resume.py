"""Runs with unlabelled images in the batches: mosaic closes for both sets, and a killed run resumes exactly."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ultralytics.models.yolo.detect import DetectionTrainer

from kd_yolo.distill.split import split_batch, split_predictions
from kd_yolo.distill.unlabelled import UnlabelledMixin
from kd_yolo.training.exact_resume import mixed_in
from kd_yolo.yolo.files.loading import load_checkpoint
from tests.light import train_yolo


class Killed(BaseException):
    """Ends a run as an external signal would."""


class MixedTrainer(UnlabelledMixin, DetectionTrainer):
    """Mixed batches; the loss looks at the labelled images, and a little at the others."""

    flags = ("unlabelled", "unlabelled_ratio")
    kind = "mixed"

    def settle(self, saved: dict[str, Any] | None, flags: dict[str, Any]) -> dict[str, Any]:
        config = saved or {"unlabelled": None, "unlabelled_ratio": 0.5, **flags}
        self.kd_config = SimpleNamespace(**config)  # type: ignore[assignment]
        return config

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        model: Any = self.model
        if model.training and "num_labelled" in batch and getattr(model, "criterion", None) is None:
            model.criterion = SplitLoss(model)
        return batch


class SplitLoss:
    """The task's loss of the labelled images, and the mean score of the others."""

    def __init__(self, model: Any) -> None:
        self.base = model.init_criterion()

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Any:
        if "num_labelled" not in batch:
            return self.base(preds, batch)
        count = batch["num_labelled"]
        loss, items = self.base(split_predictions(preds, count), split_batch(batch))
        return loss + preds["scores"][count:].sigmoid().mean(), items

    def __reduce__(self) -> Any:
        return type(None), ()


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (64, 64, 3), np.uint8))
    return folder


@pytest.fixture
def run(tiny_data: Path, student: str, tmp_path: Path) -> Any:
    """Trains a tiny detector with twelve unlabelled images, two to a batch of four."""
    pool = write_images(tmp_path / "pool", 12)

    def train(model: str = student, on: dict[str, Any] | None = None, *, save: bool = False, **arguments: Any) -> Any:
        if "resume" not in arguments:
            arguments = dict(
                data=str(tiny_data), imgsz=64, batch=4, device="cpu", workers=0, plots=False, verbose=False,
                optimizer="SGD", lr0=0.01, nbs=4, warmup_epochs=0, project=str(tmp_path), exist_ok=True,
                **{"unlabelled": str(pool), "epochs": 3, **arguments},
            )  # fmt: skip
        return train_yolo(model, MixedTrainer, arguments, on=on, finish=False, save=save)

    return train


def losses_of(folder: Path) -> list[list[str]]:
    with (folder / "results.csv").open() as file:
        return [[v for k, v in row.items() if k != "time"] for row in csv.DictReader(file)]


def kill(trainer: Any) -> None:
    if trainer.epoch == 2:
        raise Killed


@pytest.mark.parametrize(
    "close_mosaic", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_a_killed_run_resumes_exactly(run: Any, tmp_path: Path, close_mosaic: int) -> None:
    run(name="whole", close_mosaic=close_mosaic, save=True)
    with pytest.raises(Killed):
        run(name="cut", close_mosaic=close_mosaic, on={"on_train_batch_end": kill}, save=True)
    last = str(tmp_path / "cut" / "weights" / "last.pt")
    run(model=last, resume=last, save=True)
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")
    whole, resumed = (load_checkpoint(tmp_path / n / "weights" / "last.pt")[0].state_dict() for n in ("whole", "cut"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_batches_grow_and_their_number_stays(run: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    record = {
        "on_train_batch_end": lambda t: seen.append((len(t.train_loader), t.train_loader.dataset.collate_fn.count))
    }
    trainer = run(name="run", epochs=1, unlabelled_ratio=0.75, on=record)
    assert seen == [(2, 3)] * 2
    assert mixed_in(trainer.test_loader.dataset) == ()
    assert [path.name for path in (tmp_path / "pool").iterdir() if path.suffix != ".png"] == []


def test_mosaic_closes_for_both(run: Any) -> None:
    seen: list[list[float]] = []

    def record(trainer: Any) -> None:
        labelled = trainer.train_loader.dataset
        seen.append([mosaic_of(data) for data in (labelled, *mixed_in(labelled))])

    run(name="run", epochs=2, close_mosaic=1, on={"on_train_batch_end": record})
    assert seen == [[1.0, 1.0]] * 2 + [[0.0, 0.0]] * 2


def mosaic_of(dataset: Any) -> float:
    return float(dataset.transforms.transforms[0].transforms[0].p)


def test_images_of_the_labelled_set_are_left_out(run: Any, tiny_data: Path, logged: list[str]) -> None:
    """Those that are validated on as well; with ``fraction``, the unused part of the training set is unlabelled."""
    images = tiny_data.parent / "images"
    trainer = run(name="run", epochs=1, unlabelled=str(images), fraction=0.5)
    used = {Path(file) for file in trainer.train_loader.dataset.im_files}
    (pool,) = mixed_in(trainer.train_loader.dataset)
    assert {Path(file) for file in pool.im_files} == set((images / "train").glob("*.png")) - used
    assert len(pool.im_files) == 4
    assert "kd-yolo: unlabelled: 12 of 16 images are in the labelled set: left out" in logged
    assert "kd-yolo: unlabelled: 4 of 4 images have label files: they are not read" in logged


def test_frames_of_a_video_are_in_the_run_folder(run: Any, tmp_path: Path) -> None:
    out = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for value in range(5):
        out.write(np.full((64, 64, 3), value * 40, np.uint8))
    out.release()
    trainer = run(name="run", epochs=1, unlabelled=str(tmp_path / "v.avi"))
    (pool,) = mixed_in(trainer.train_loader.dataset)
    assert pool.im_files == [str(tmp_path / "run" / "unlabelled" / f"{i:08d}.jpg") for i in range(5)]


def test_the_chosen_batch_leaves_room(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setattr(DetectionTrainer, "auto_batch", lambda _self: 24)
    trainer = MixedTrainer.__new__(MixedTrainer)
    for unlabelled, expected in ((None, 24), ("pool", 16)):
        trainer.kd_config = SimpleNamespace(unlabelled=unlabelled, unlabelled_ratio=0.5)  # type: ignore[assignment]
        assert trainer.auto_batch() == expected
    assert logged == ["kd-yolo: batch=16, which leaves room for the unlabelled images"]
