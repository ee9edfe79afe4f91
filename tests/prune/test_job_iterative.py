"""Iterative pruning: several steps to the same widths, with the caller's training in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import KDYoloError
from kd_yolo.config.prune import PruneSettings
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned
from tests.prune.test_job import QUICK, data, halved, prune, state, weights, widths

__all__ = ["data", "halved", "weights"]  # fixtures


def settings(weights: str, **values: Any) -> PruneSettings:
    return PruneSettings.parse({"model": weights, **QUICK, "factor": 0.5, **values}, "test")


def test_the_widths_are_those_of_one_step(weights: str, halved: Any, tmp_path: Path) -> None:
    once, _ = halved
    lines: list[str] = []
    thrice = prune(settings(weights, iterative=3), tmp_path / "thrice", say=lines.append)
    assert widths(thrice.path) == widths(once.path) == once.plan.after
    shares = [float(line.split(": ")[1].partition("%")[0]) for line in lines if line.startswith("cutting")]
    assert len(shares) == 3
    assert shares[0] > shares[1] > shares[2]


def test_the_caller_trains_between_the_steps(weights: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def retrain(path: Path, step: int) -> Path:
        """Doubles a weight, which must be found again in the end."""
        model, checkpoint = load_checkpoint(path)
        layer: Any = dict(model.named_modules())["model.5.cv2.0.2"]
        seen.append((path.name, step, sum(widths(path).values())))
        with torch.no_grad():
            layer.bias += 1
        return save_pruned(tmp_path / f"trained{step}.pt", model, checkpoint, {})

    result = prune(settings(weights, iterative=3), tmp_path / "run", retrain=retrain)
    assert [entry[:2] for entry in seen] == [("step1.pt", 1), ("step2.pt", 2)]
    assert sum(result.plan.before.values()) > seen[0][2] > seen[1][2] > sum(result.plan.after.values())
    before = state(Path(weights))["model.5.cv2.0.2.bias"]
    torch.testing.assert_close(state(result.path)["model.5.cv2.0.2.bias"], before + 2, rtol=1e-3, atol=1e-3)
    assert widths(result.path) == result.plan.after


def test_channels_are_ranked_again_after_each_step(weights: str, data: str, tmp_path: Path) -> None:
    lines: list[str] = []
    result = prune(settings(weights, iterative=2, data=data), tmp_path / "run", say=lines.append)
    assert lines.count("re-estimating BatchNorm statistics") == 2
    assert widths(result.path) == result.plan.after


def test_a_training_that_changes_widths_is_an_error(weights: str, tmp_path: Path) -> None:
    with pytest.raises(KDYoloError, match="no longer has the widths"):
        prune(settings(weights, iterative=2), tmp_path / "run", retrain=lambda _path, _step: Path(weights))
    assert not (tmp_path / "run" / "weights" / "pruned.pt").exists()
