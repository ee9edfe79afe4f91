"""One epoch of training for student and teacher across families, from YAML at 64 px; the student is saved and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from kd_yolo.yolo.files.loading import load_checkpoint

PAIRS = [
    ("yolov8n", "yolov8s"),
    pytest.param("yolo26n", "yolo11s", marks=pytest.mark.slow),  # test_gates.py trains one at once
    pytest.param("yolov10n", "yolov8s", marks=pytest.mark.slow),  # test_end_to_end_heads.py trains its head
    pytest.param("yolo11n", "yolov8s", marks=pytest.mark.slow),
    pytest.param("yolov5n", "yolov8n", marks=pytest.mark.slow),
    pytest.param("yolov9t", "yolov8s", marks=pytest.mark.slow),
    pytest.param("yolo12n", "yolo11s", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("student_name", "teacher_name"), PAIRS)
def test_pair_trains_and_reloads(
    train: Any, make_weights: Any, tmp_path: Path, student_name: str, teacher_name: str
) -> None:
    gradients: list[float] = []

    def read(trainer: Any) -> None:
        gradient = next(trainer.model.model[0].parameters()).grad
        if gradient is not None:  # None right after a step
            gradients.append(float(gradient.abs().sum()))

    trainer = train(
        model=f"{student_name}.yaml", teacher=make_weights(f"{teacher_name}.yaml", seed=1), loss="cwd+bkd", epochs=1,
        nbs=64, on={"on_train_batch_end": read}, finish=False,
    )  # fmt: skip
    columns = trainer.csv.read_text().splitlines()[0]
    assert "train/kd_cwd" in columns
    assert "train/kd_bkd" in columns
    assert all(float(trainer.tloss[k]) > 0 for k in ("kd_cwd", "kd_bkd"))
    assert max(gradients) > 0
    trainer.ema.ema.criterion = None
    torch.save({"model": trainer.ema.ema, "train_args": {}}, tmp_path / "student.pt")
    student, _ = load_checkpoint(tmp_path / "student.pt")
    assert type(student) is DetectionModel
    assert torch.isfinite(student(torch.zeros(1, 3, 64, 64))[0]).all()
