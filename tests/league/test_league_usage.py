"""What a training costs: full epochs only, added up over resumed processes, noted only when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics.utils.callbacks.base import default_callbacks, get_default_callbacks

from kd_yolo.training import usage
from kd_yolo.training.usage import Usage, noting_usage, peak_mib, read_usage

EVENTS = ("on_train_start", "on_fit_epoch_end")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Wall time, CPU time and peak memory that a test sets itself."""
    now = {"wall": 100.0, "cpu": 50.0, "peak": 700.0}
    fake = SimpleNamespace(perf_counter=lambda: now["wall"], process_time=lambda: now["cpu"])
    monkeypatch.setattr(usage, "time", fake)
    monkeypatch.setattr(usage, "peak_mib", lambda: now["peak"])
    return now


def trainer(folder: Path) -> Any:
    return SimpleNamespace(save_dir=folder, epoch=0, device=torch.device("cpu"))


def callbacks() -> list[Any]:
    """Those that every training gets now; ours come last."""
    return [get_default_callbacks()[event][-1] for event in EVENTS]


def test_epochs_are_counted_and_what_comes_after_them_is_not(tmp_path: Path, clock: dict[str, float]) -> None:
    run = trainer(tmp_path)
    with noting_usage():
        start, after_epoch = callbacks()
        start(run)
        for epoch in (0, 1):
            clock["wall"], clock["cpu"] = clock["wall"] + 10, clock["cpu"] + 15
            run.epoch = epoch
            after_epoch(run)
        clock["wall"] += 1000
        after_epoch(run)  # the evaluation at the end
    assert read_usage(tmp_path) == Usage(20, 30, 700, None)
    assert json.loads((tmp_path / "usage.json").read_text())["cuda_peak_mib"] is None


def test_a_resumed_run_adds_up(tmp_path: Path, clock: dict[str, float]) -> None:
    for seconds, peak in ((10.0, 900.0), (5.0, 800.0)):
        run = trainer(tmp_path)
        with noting_usage():
            start, after_epoch = callbacks()
            start(run)
            clock["wall"], clock["peak"] = clock["wall"] + seconds, peak
            after_epoch(run)
    assert read_usage(tmp_path) == Usage(15, 0, 900, None)


def test_peaks_are_not_added() -> None:
    assert Usage(1, 2, 300, 40.0).add(Usage(10, 20, 200, None)) == Usage(11, 22, 300, 40.0)
    assert Usage(peak_mib=1, cuda_peak_mib=5.0).add(Usage(peak_mib=2, cuda_peak_mib=7.0)).cuda_peak_mib == 7


def test_nothing_is_noted_outside(tmp_path: Path) -> None:
    before = {event: list(default_callbacks[event]) for event in EVENTS}

    def fail() -> None:
        with noting_usage():
            assert all(len(default_callbacks[event]) == len(before[event]) + 1 for event in EVENTS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {event: list(default_callbacks[event]) for event in EVENTS} == before
    assert read_usage(tmp_path) == Usage()


def test_the_peak_is_that_of_this_process() -> None:
    before = peak_mib()
    block = np.ones(60 * 2**17)  # 60 MiB
    assert peak_mib() >= max(before, block.nbytes / 2**20)
