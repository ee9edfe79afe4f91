"""A run that is killed in mid-epoch and resumed ends as the undisturbed one, bit for bit on CPU."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.yolo.files.loading import load_checkpoint


class Killed(BaseException):
    """Ends a run as an external signal would: no handler of the trainer sees it."""


def kill_at(epoch: int, batch: int) -> Any:
    """A callback that raises in the middle of an epoch."""
    seen = {"batch": -1}

    def callback(trainer: Any) -> None:
        seen["batch"] = 0 if seen.get("epoch") != trainer.epoch else seen["batch"] + 1
        seen["epoch"] = trainer.epoch
        if trainer.epoch == epoch and seen["batch"] == batch:
            raise Killed

    return callback


def losses_of(run: Path) -> list[list[str]]:
    """Rows of results.csv without the time column."""
    with (run / "results.csv").open() as file:
        return [[v for k, v in row.items() if k != "time"] for row in csv.DictReader(file)]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


CASES = {
    "mosaic closed before, mgd with its own random mask": dict(loss="mgd", close_mosaic=2, epochs=3),
    "mosaic closes at resume": dict(close_mosaic=1, epochs=3),
    "accumulation over epochs": dict(batch=2, nbs=6, epochs=3, close_mosaic=0),
    "multi-scale, AdamW, warm-up": dict(
        imgsz=128, multi_scale=0.5, optimizer="AdamW", lr0=1e-3, warmup_epochs=3, epochs=3
    ),
}


@pytest.mark.parametrize(
    "case", [next(iter(CASES)), *(pytest.param(case, marks=pytest.mark.slow) for case in list(CASES)[1:])]
)
def test_resumed_run_equals_undisturbed(train: Any, tmp_path: Path, case: str) -> None:
    whole_run = case == next(iter(CASES))  # the others leave out validation, which is as random as nothing
    light = {} if whole_run else dict(finish=False, save=True)
    arguments = CASES[case] | light
    train(name="whole", **arguments)
    with pytest.raises(Killed):
        train(name="cut", on={"on_train_batch_end": kill_at(epoch=2, batch=0)}, **arguments)
    cut = tmp_path / "cut"
    with (cut / "results.csv").open("a") as file:
        file.write("3,1.0,0.5")  # a row that was cut off while it was written
    train(model=str(cut / "weights" / "last.pt"), resume=str(cut / "weights" / "last.pt"), **light)
    assert losses_of(cut) == losses_of(tmp_path / "whole")
    whole, resumed = (weights_of(tmp_path / name / "weights" / "last.pt") for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


@pytest.mark.slow  # the bit-exact cases above imply it; this one says what is wrong
def test_schedule_continues(train: Any, tmp_path: Path) -> None:
    seen: list[float] = []
    arguments = dict(epochs=4, close_mosaic=0)
    record = {"on_train_batch_end": lambda t: seen.append(t.criterion.factors["kd_cwd"])}
    with pytest.raises(Killed):
        train(name="cut", on={"on_train_batch_end": kill_at(epoch=2, batch=0)}, **arguments)
    last = str(tmp_path / "cut" / "weights" / "last.pt")
    train(model=last, resume=last, on=record)
    assert len(seen) == 4
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == pytest.approx(0.1 + 0.9 * 0.5)  # cosine at half of the run, not at its start
