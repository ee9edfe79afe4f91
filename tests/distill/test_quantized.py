"""Distillation while training for INT8 (``quantize=8``): only the student is quantised, and runs resume exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.utils.torch_utils import is_qat

from kd_yolo.base.errors import InputError
from kd_yolo.distill.checkpoint import TERMS
from kd_yolo.distill.job import Request, make_plan
from kd_yolo.yolo.files.loading import load_checkpoint

pytest.importorskip("modelopt", reason="needs the extra qat")
pytestmark = pytest.mark.slow  # importing modelopt alone takes seconds
Train = Callable[..., Any]
ARGUMENTS: dict[str, Any] = dict(quantize=8, optimizer="AdamW", lr0=1e-4)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)


class Killed(BaseException):
    """Ends a run as an external signal would: no handler of the trainer sees it."""


def kill_in_last_epoch(trainer: Any) -> None:
    if trainer.epoch == 2:
        raise Killed


def test_only_the_student_is_quantised_and_it_is_taught(train: Train, rows: Any) -> None:
    seen: dict[str, Any] = {}

    def look(trainer: Any) -> None:
        student = trainer.model
        seen["student"] = sum(type(m).__name__ == "QuantConv2d" for m in student.model.modules())
        seen["terms"] = {type(m) for m in student._modules[TERMS].modules() if isinstance(m, nn.Conv2d)}
        seen["teacher"] = is_qat(trainer.criterion.teachers[0].model)
        seen["generator"] = next(student._modules[TERMS].parameters()).detach().clone()

    def look_again(trainer: Any) -> None:
        seen["trained"] = next(trainer.model._modules[TERMS].parameters()).detach().clone()

    run = train(loss="mgd+bkd", epochs=1, on={"on_train_start": look, "on_train_epoch_end": look_again}, **ARGUMENTS)
    assert seen["student"] > 10
    assert seen["terms"] == {nn.Conv2d}
    assert not seen["teacher"]
    assert not torch.equal(seen["generator"], seen["trained"])
    assert all(float(row[f"train/kd_{loss}"]) > 0 for row in rows(run) for loss in ("mgd", "bkd"))


def test_weight_0_equals_upstreams_training_for_int8(train: Train, rows: Any, tmp_path: Path) -> None:
    plain = train(name="plain", plain=True, epochs=1, **ARGUMENTS)
    ours = train(name="ours", loss="mgd+bkd", weight=0, epochs=1, **ARGUMENTS)
    own = [{k: v for k, v in row.items() if k != "time" and "kd_" not in k} for row in rows(ours)]
    assert own == [{k: v for k, v in row.items() if k != "time"} for row in rows(plain)]
    a, b = (weights_of(tmp_path / run / "weights" / "last.pt") for run in ("plain", "ours"))
    assert any(key.endswith("_amax") for key in a)
    assert same(a, b)


def test_a_killed_run_resumes_exactly(train: Train, rows: Any, tmp_path: Path) -> None:
    arguments = dict(loss="mgd+bkd", epochs=3, close_mosaic=1, finish=False, save=True, **ARGUMENTS)
    whole = train(name="whole", **arguments)
    with pytest.raises(Killed):
        train(name="cut", on={"on_train_batch_end": kill_in_last_epoch}, **arguments)
    last = str(tmp_path / "cut" / "weights" / "last.pt")
    resumed = train(model=last, resume=last, finish=False, save=True)
    without_time = [[{k: v for k, v in row.items() if k != "time"} for row in rows(run)] for run in (whole, resumed)]
    assert without_time[0] == without_time[1]
    assert same(weights_of(whole.last), weights_of(resumed.last))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_network_trained_for_int8_is_no_teacher_and_no_student(
    train: Train, teacher: str, student: str, tiny_data: Path, role: str
) -> None:
    quantised = str(train(plain=True, epochs=1, **ARGUMENTS).best)
    files = {"teacher": teacher, "student": student, role: quantised}
    with pytest.raises(InputError, match=r"best.pt was trained for INT8.*give the network that it was trained from"):
        make_plan(Request(files["teacher"], files["student"], overrides={"data": str(tiny_data)}))
    with pytest.raises(InputError, match="was trained for INT8"):
        train(model=files["student"], teacher=files["teacher"])


@pytest.mark.parametrize("head", ["v10Detect", "Detect26"])
def test_heads_with_a_one_to_one_branch(train: Train, make_weights: Any, tiny_yaml: Any, head: str) -> None:
    student, teacher = (make_weights(tiny_yaml(width, head=head)) for width in (8, 16))
    run = train(model=student, teacher=teacher, loss="cwd+bkd", epochs=1, **ARGUMENTS)
    assert is_qat(load_checkpoint(run.best)[0])


@pytest.mark.parametrize(
    "options",
    [
        dict(teacher="ema", loss="bkd"),
        dict(loss="bkd", teacher_cache=1, close_mosaic=0),
        dict(loss="bkd", unlabelled="images/train", fraction=0.5),
        dict(loss="bkd", teacher_every=2),
    ],
    ids=lambda options: next(key for key in options if key not in ("loss", "close_mosaic")),
)
def test_with_the_other_options(
    train: Train, rows: Any, tiny_data: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    given = dict(options)
    if "unlabelled" in given:
        given["unlabelled"] = str(tiny_data.parent / given["unlabelled"])
    if "teacher_cache" in given:
        given |= dict(teacher_cache_dir=str(tmp_path / "cache"))
    run = train(epochs=1, **given, **ARGUMENTS)
    assert float(rows(run)[0]["train/kd_bkd"]) > 0
    assert is_qat(load_checkpoint(run.best)[0])
