"""What the trainer is told and cannot do: each is one clear error, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.distill.trainer import DistillationTrainer

Train = Callable[..., Any]
Weights = Callable[..., str]


def test_no_teacher(train: Train) -> None:
    with pytest.raises(ConfigError, match=r"no teacher: DistillationTrainer needs teacher=path/to/weights\.pt"):
        train(teacher=None)


def test_ultralytics_own_distillation_beside_ours(train: Train, teacher: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="distill_model is ultralytics' own distillation"):
        train(distill_model=teacher)
    assert not (tmp_path / "run").exists()


def test_a_misspelt_option_of_ours(train: Train) -> None:
    with pytest.raises(ConfigError, match=r"'tua' is not an ultralytics argument. Did you mean 'tau'\?"):
        train(tua=2)


def test_a_misspelt_loss(train: Train) -> None:
    with pytest.raises(ConfigError, match=r"unknown loss 'cdw'. Did you mean 'cwd'?"):
        train(loss="cdw")


def test_a_missing_teacher_file(train: Train, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt"):
        train(teacher=str(tmp_path / "none.pt"))


def test_a_teacher_that_is_no_detector(train: Train, make_weights: Weights) -> None:
    with pytest.raises(InputError, match="the teacher ends in Classify, not in a YOLO Detect head"):
        train(teacher=make_weights("yolov8n-cls.yaml"))


def test_a_teacher_for_other_image_channels(train: Train, make_weights: Weights) -> None:
    with pytest.raises(InputError, match="the teacher takes 1-channel images, the student 3-channel ones"):
        train(teacher=make_weights("tiny16", channels=1))


def test_other_class_count_with_a_response_term(train: Train, make_weights: Weights) -> None:
    with pytest.raises(ConfigError, match=r"teacher has 5 classes, data has 2: response losses \(bkd\) need equal"):
        train(teacher=make_weights("tiny16", classes=5), loss="cwd+bkd")


def test_other_class_count_with_a_feature_term(train: Train, make_weights: Weights, rows: Any) -> None:
    trainer = train(teacher=make_weights("tiny16", classes=5), loss="score_l2", epochs=1, finish=False)
    assert float(rows(trainer)[0]["train/kd_score_l2"]) > 0


def test_a_layer_that_does_not_exist(train: Train) -> None:
    with pytest.raises(ConfigError, match="the student has no layer 40 before its head; 0 to 5"):
        train(taps=[3, 40])


def test_compile_with_taps_beside_the_head(train: Train) -> None:
    with pytest.raises(ConfigError, match="compile=True works with taps=head only"):
        train(compile=True, taps=[2, 4])


def test_a_stop_with_mosaic_that_is_closed_from_the_start(train: Train) -> None:
    with pytest.raises(
        ConfigError, match="switches kd_cwd off when mosaic closes, which is at once: close_mosaic=10 of 2"
    ):
        train(stop_at="mosaic", epochs=2, close_mosaic=10)


def test_student_and_teacher_of_one_file_are_said(train: Train, student: str, logged: list[str]) -> None:
    train(teacher=student, epochs=1, finish=False)
    assert any("student and teacher are the same file: self-distillation" in line for line in logged)


def test_settings_of_a_config_instead_of_flags(train: Train, teacher: str) -> None:
    config = {"teacher": teacher, "terms": [{"loss": "l2", "weight": 2}]}
    trainer = train(teacher=None, loss=None, kd={"config": config}, epochs=1, finish=False)
    assert trainer.kd_config.terms[0].weight == 2.0
    with pytest.raises(ConfigError, match="kd: 1 problem"):
        train(teacher=None, loss=None, kd={"config": config | {"tems": []}})


def test_overrides_of_the_caller_stay_as_they_were(teacher: str, student: str, tiny_data: Path, tmp_path: Path) -> None:
    overrides = dict(
        model=student, data=str(tiny_data), teacher=teacher, loss="cwd", device="cpu", project=str(tmp_path)
    )
    before = dict(overrides)
    DistillationTrainer(overrides=overrides)
    assert overrides == before
