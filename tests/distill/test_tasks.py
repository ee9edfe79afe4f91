"""Segment, pose and obb students: one epoch with feature terms, and with class logits under a teacher of the task."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils.torch_utils import is_qat

from kd_yolo.distill.trainer import TRAINERS

Train = Callable[..., Any]
EXTRA = {"segment": "", "obb": "", "pose": "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"}
HEADS = {"segment": "Segment", "pose": "Pose", "obb": "OBB"}
SUFFIX = {"segment": "seg", "pose": "pose", "obb": "obb"}


def label(task: str, row: str) -> str:
    """A rectangle's label line for a task: its corners, or its box and two key points."""
    cls, x, y, w, h = (float(v) for v in row.split())
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if task == "pose":
        values = [x, y, w, h, left, top, 2, right, bottom, 2]
    else:
        values = [left, top, right, top, right, bottom, left, bottom]
    return f"{int(cls)} " + " ".join(f"{v:.5f}" for v in values)


@pytest.fixture
def task_data(tiny_data: Path, tmp_path: Path) -> Callable[[str], str]:
    def write(task: str) -> str:
        folder = tmp_path / f"data-{task}"
        shutil.copytree(tiny_data.parent, folder, ignore=shutil.ignore_patterns("*.cache"))
        for file in (folder / "labels").rglob("*.txt"):
            file.write_text("".join(label(task, row) + "\n" for row in file.read_text().splitlines()))
        (folder / "data.yaml").write_text((folder / "data.yaml").read_text() + EXTRA[task])
        return str(folder / "data.yaml")

    return write


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_one_epoch(
    train: Train, rows: Any, make_weights: Any, tiny_yaml: Any, task_data: Callable[[str], str], task: str
) -> None:
    weights = make_weights(tiny_yaml(16, head=HEADS[task]))
    trainer = train(
        model=weights, trainer=TRAINERS[task], data=task_data(task), teacher=weights, loss="cwd+score_l2+bkd", epochs=1
    )
    row = rows(trainer)[0]
    assert all(float(row[f"train/kd_{name}"]) > 0 for name in ("cwd", "score_l2", "bkd"))
    assert {"segment": "train/seg_loss", "pose": "train/pose_loss", "obb": "train/angle_loss"}[task] in row
    best = YOLO(str(trainer.best))
    assert best.task == task
    assert not any("kd_" in key for key in best.model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_one_epoch_for_int8(
    train: Train, make_weights: Any, tiny_yaml: Any, task_data: Callable[[str], str], task: str
) -> None:
    pytest.importorskip("modelopt", reason="needs the extra qat")
    weights = make_weights(tiny_yaml(16, head=HEADS[task]))
    arguments = dict(trainer=TRAINERS[task], data=task_data(task), teacher=weights, loss="cwd+bkd", epochs=1)
    best = YOLO(str(train(model=weights, quantize=8, **arguments).best))
    assert best.task == task
    assert is_qat(best.model)


def test_a_detector_teaches_a_segmentation_student_features(
    train: Train, rows: Any, tiny_yaml: Any, task_data: Callable[[str], str], teacher: str
) -> None:
    trainer = train(
        model=tiny_yaml(head="Segment"), trainer=TRAINERS["segment"], data=task_data("segment"), teacher=teacher,
        epochs=1, finish=False,
    )  # fmt: skip
    assert float(rows(trainer)[0]["train/kd_cwd"]) > 0


def test_a_segmentation_teacher_for_a_detector(
    train: Train, rows: Any, make_weights: Callable[..., str], tiny_yaml: Any
) -> None:
    trainer = train(teacher=make_weights(tiny_yaml(16, head="Segment")), loss="cwd+bkd", epochs=1, finish=False)
    assert float(rows(trainer)[0]["train/kd_bkd"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["seg", "pose", "obb"])
def test_end_to_end_students_of_other_tasks(
    train: Train,
    rows: Any,
    make_weights: Callable[..., str],
    task_data: Callable[[str], str],
    teacher: str,
    suffix: str,
) -> None:
    task = next(name for name, short in SUFFIX.items() if short == suffix)
    trainer = train(
        model=make_weights(f"yolo26n-{suffix}.yaml"), trainer=TRAINERS[task], data=task_data(task), epochs=1,
        teacher=teacher, loss="cwd+bkd",
    )  # fmt: skip
    assert float(rows(trainer)[0]["train/kd_bkd"]) > 0
    assert torch.isfinite(torch.tensor([float(v) for v in rows(trainer)[0].values()])).all()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_kept_responses(
    train: Train, tmp_path: Path, make_weights: Any, tiny_yaml: Any, task_data: Callable[[str], str], task: str
) -> None:
    weights = make_weights(tiny_yaml(16, head=HEADS[task]))
    trainer = train(
        model=weights, trainer=TRAINERS[task], data=task_data(task), teacher=weights, loss="bkd+dfl_kl", epochs=3,
        close_mosaic=1, teacher_cache=1, teacher_cache_dir=str(tmp_path / "cache"), finish=False,
    )  # fmt: skip
    assert len(trainer._cached[0].cache) == 16  # of eight images one view with mosaic, and one without
