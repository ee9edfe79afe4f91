"""What a run shows and writes: kd_* columns in every epoch, the schedule's stop, args.yaml, the log."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kd_yolo.config.distill import DistillConfig

Train = Callable[..., Any]


class Record:
    """Factors, progress and teacher passes of every batch."""

    def __init__(self) -> None:
        self.progress: list[float] = []
        self.factors: list[dict[str, float]] = []
        self.ran: list[bool] = []

    def start(self, trainer: Any) -> None:
        criterion = trainer.criterion
        whole = criterion.teachers[0]

        def count(image: Any) -> Any:
            self.ran[-1] = True
            return whole(image)

        criterion.teachers[0] = count

    def before(self, trainer: Any) -> None:
        self.ran.append(False)

    def after(self, trainer: Any) -> None:
        self.progress.append(trainer._reached)
        self.factors.append(dict(trainer.criterion.factors))

    @property
    def on(self) -> dict[str, Any]:
        return {"on_train_start": self.start, "on_train_batch_start": self.before, "on_train_batch_end": self.after}


@pytest.fixture(scope="module")
def several(train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three terms, two of one loss, one of them switched off when mosaic closes."""
    terms = [
        {"loss": "cwd", "weight": 2.0},
        {"loss": "cwd", "taps": [2, 4], "schedule": {"kind": "constant", "stop_at": "mosaic"}},
        {"loss": "bkd", "params": {"tau": 2.0}},
    ]
    return train_into(tmp_path_factory.mktemp("columns"))(loss=terms, schedule="linear", epochs=3, close_mosaic=1)


def test_every_term_has_a_finite_training_column_in_every_epoch(several: Any, rows: Any) -> None:
    table = rows(several)
    assert len(table) == 3
    values = [[float(row[f"train/kd_{name}"]) for row in table] for name in ("cwd", "cwd2", "bkd")]
    assert all(math.isfinite(v) for column in values for v in column)
    assert all(v > 0 for v in values[0] + values[2] + values[1][:2])
    assert values[1][2] == 0.0  # mosaic closed


def test_no_validation_columns(several: Any, rows: Any) -> None:
    columns = rows(several)[0]
    assert [c for c in columns if "kd_" in c] == ["train/kd_cwd", "train/kd_cwd2", "train/kd_bkd"]
    assert {"train/box_loss", "val/box_loss", "val/cls_loss", "val/dfl_loss"} <= set(columns)
    assert not [k for k in several.metrics if "kd_" in k]


def test_the_log_says_what_is_compared(train: Train, logged: list[str]) -> None:
    train(loss="cwd+bkd", weight="2+3", epochs=1, finish=False)
    text = "\n".join(logged)
    assert "kd-yolo: kd_cwd weight 2: layer 3 (stride 8, 8 channels) <- layer 3 (stride 8, 16 channels), " in text
    assert "kd-yolo: kd_bkd weight 3: class logits" in text
    assert f"{8 * 16 + 16 + 2 * (16 * 32 + 32):,} adapter parameters" in text
    assert "kd_cwd" in next(line for line in logged if "box_loss" in line)  # the progress bar's header


def test_levels_that_only_one_side_has_are_said(
    train: Train, make_weights: Callable[..., str], logged: list[str]
) -> None:
    train(teacher=make_weights("yolov8n-p6.yaml"), loss="cwd+bkd", epochs=1, finish=False)
    left = "has no partner and is not used"
    assert f"kd-yolo: kd_cwd: teacher layer 29 (stride 64, 256 channels) {left}" in logged
    assert f"kd-yolo: kd_bkd: teacher level of stride 64 {left}" in logged


def test_args_yaml_holds_the_resolved_configuration(several: Any, tiny_data: Path, teacher: str) -> None:
    kd = yaml.safe_load((several.save_dir / "args.yaml").read_text())["kd"]
    config = DistillConfig.parse(kd["config"], "args.yaml")
    assert config == several.kd_config
    assert config.teacher == teacher
    assert config.terms[0].standardize is True  # a default, resolved
    assert kd["data"] == str(tiny_data)


def test_progress_runs_from_0_to_almost_1_in_equal_steps(train: Train) -> None:
    record = Record()
    train(epochs=3, schedule="linear", on=record.on, finish=False)
    assert record.progress == pytest.approx([i / 6 for i in range(6)])
    assert [f["kd_cwd"] for f in record.factors] == pytest.approx([1 - 0.9 * i / 6 for i in range(6)])
    assert record.ran == [True] * 6


@pytest.mark.parametrize(
    ("stop", "runs"),
    [({"stop_at": 0.25}, [True] + [False] * 3), ({"stop_at": "mosaic", "close_mosaic": 1}, [True] * 2 + [False] * 2)],
)
def test_a_stopped_schedule_stops_the_teacher(train: Train, rows: Any, stop: dict[str, Any], runs: list[bool]) -> None:
    record = Record()
    trainer = train(epochs=2, on=record.on, finish=False, **stop)
    assert record.ran == runs
    column = [float(row["train/kd_cwd"]) for row in rows(trainer)]
    assert [v > 0 for v in column] == runs[::2]


def test_weight_0_does_not_run_the_teacher_and_says_so(train: Train, logged: list[str]) -> None:
    record = Record()
    train(weight=0, epochs=1, on=record.on, finish=False)
    assert record.ran == [False, False]
    assert any("all weights are 0: this is plain training" in line for line in logged)
