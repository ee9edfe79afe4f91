"""Pruned networks of the other tasks: one epoch of sparse training each, and the file that comes out of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from kd_yolo.prune.sparse.trainer import SPARSE_FILE, SPARSE_TRAINERS
from tests.training.networks import KEEP

Train = Callable[..., Any]
EXTRA = {"segment": "", "obb": "", "pose": "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"}


def label(task: str, row: str) -> str:
    """A rectangle's label line for a task: its corners, or its box and two key points."""
    cls, x, y, w, h = (float(v) for v in row.split())
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    corners = [left, top, right, top, right, bottom, left, bottom]
    values = [x, y, w, h, left, top, 2, right, bottom, 2] if task == "pose" else corners
    return f"{int(cls)} " + " ".join(f"{v:.5f}" for v in values)


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Callable[[str], str]:
    def write(task: str) -> str:
        folder = tmp_path / "data"
        shutil.copytree(tiny_data.parent, folder, ignore=shutil.ignore_patterns("*.cache"))
        if task == "classify":
            for image in (folder / "images").rglob("*.png"):
                target = folder / "classes" / image.parent.name / f"c{int(image.stem) % 2}" / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(image, target)
            return str(folder / "classes")
        for file in (folder / "labels").rglob("*.txt") if task in EXTRA else ():
            file.write_text("".join(label(task, row) + "\n" for row in file.read_text().splitlines()))
        (folder / "data.yaml").write_text((folder / "data.yaml").read_text() + EXTRA.get(task, ""))
        return str(folder / "data.yaml")

    return write


YAMLS = {
    "segment": "yolov8n-seg.yaml",
    "obb": "yolo11n-obb.yaml",
    "classify": "yolov8n-cls.yaml",
    "detect": "yolov10n.yaml",
}


@pytest.mark.slow
@pytest.mark.parametrize("task", YAMLS)
def test_one_epoch_with_other_classes(
    train: Train, rows: Any, save: Callable[..., str], data: Callable[[str], str], task: str
) -> None:
    weights = save(YAMLS[task], classes=5, pruned=True)
    trainer = train(weights, trainer=SPARSE_TRAINERS[task], data=data(task), epochs=1)
    assert float(rows(trainer.save_dir)[0]["sparse/zeros"]) == pytest.approx(0.5, rel=0.05)
    result = YOLO(str(trainer.wdir / SPARSE_FILE))
    assert result.task == task
    assert len(result.model.model[0].conv.weight) == KEEP
    assert result.names == {0: "c0", 1: "c1"}
    assert result.predict(torch.rand(1, 3, 64, 64), verbose=False)


@pytest.mark.slow
def test_pose(train: Train, rows: Any, build: Any, data: Callable[[str], str], tmp_path: Path) -> None:
    """A network for the key points of the data: other ones cannot be trained without its YAML."""
    from ultralytics.nn.tasks import PoseModel

    from tests.training.networks import narrow

    yolo = YOLO("yolov8n-pose.yaml")
    yolo.model = narrow(PoseModel("yolov8n-pose.yaml", nc=1, data_kpt_shape=[2, 3], verbose=False))
    yolo.save(str(tmp_path / "pose.pt"))
    trainer = train(str(tmp_path / "pose.pt"), trainer=SPARSE_TRAINERS["pose"], data=data("pose"), epochs=1)
    assert len(YOLO(str(trainer.wdir / SPARSE_FILE)).model.model[0].conv.weight) == KEEP


@pytest.mark.slow
def test_rt_detr(train: Train, rows: Any, tiny_data: Path, tmp_path: Path) -> None:
    from ultralytics import RTDETR

    yolo = RTDETR("rtdetr-l.yaml")
    yolo.save(str(tmp_path / "rtdetr.pt"))
    trainer = train(
        str(tmp_path / "rtdetr.pt"), trainer=SPARSE_TRAINERS["rtdetr"], epochs=1, optimizer="AdamW", batch=8
    )
    assert float(rows(trainer.save_dir)[0]["sparse/zeros"]) == pytest.approx(0.5, rel=0.05)
