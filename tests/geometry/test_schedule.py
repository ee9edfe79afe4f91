"""The weight over a run: its formula, its ends, its stop, and that it is a pure function of progress."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.config.term import ScheduleConfig
from kd_yolo.geometry.schedule import SCHEDULES, Schedule, cosine, linear

SHARE = st.floats(0, 1)


@given(progress=SHARE, end=SHARE)
def test_formulas(progress: float, end: float) -> None:
    assert cosine(progress, end=end) == pytest.approx(end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2)
    assert linear(progress, end=end) == pytest.approx((1 - progress) * 1 + progress * end)


@pytest.mark.parametrize(("kind", "middle"), [("cosine", 0.6), ("linear", 0.6), ("constant", 1.0)])
def test_start_middle_end(kind: str, middle: float) -> None:
    schedule = Schedule(kind, end=0.2)  # type: ignore[arg-type]
    assert schedule(0.0) == 1.0
    assert schedule(0.5) == pytest.approx(middle)
    assert schedule(1.0) == pytest.approx(1.0 if kind == "constant" else 0.2)


def test_cosine_starts_flat_and_linear_does_not() -> None:
    assert Schedule("cosine", end=0.0)(0.1) > 0.97
    assert Schedule("linear", end=0.0)(0.1) == pytest.approx(0.9)


@given(kind=st.sampled_from(SCHEDULES), end=SHARE, a=SHARE, b=SHARE)
def test_never_rises_and_stays_in_range(kind: str, end: float, a: float, b: float) -> None:
    schedule = Schedule(kind, end=end)  # type: ignore[arg-type]
    low, high = sorted((a, b))
    assert 1.0 >= schedule(low) >= schedule(high) - 1e-12
    assert schedule(high) >= end - 1e-12


@pytest.mark.parametrize("kind", SCHEDULES)
def test_outside_of_the_run_is_clipped(kind: str) -> None:
    schedule = Schedule(kind)  # type: ignore[arg-type]
    assert schedule(-0.5) == schedule(0.0)
    assert schedule(7.0) == schedule(1.0)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_stop_is_sharp(kind: str) -> None:
    schedule, free = Schedule(kind, stop_at=0.5), Schedule(kind)  # type: ignore[arg-type]
    assert schedule(0.5 - 1e-9) == free(0.5 - 1e-9) > 0
    assert schedule(0.5) == schedule(0.9) == schedule(1.0) == 0.0


@given(epochs=st.integers(1, 1000), batches=st.integers(1, 50), data=st.data())
def test_mosaic_stops_with_the_first_batch_of_the_epoch_that_closes_it(
    epochs: int, batches: int, data: st.DataObject
) -> None:
    close = data.draw(st.integers(1, epochs))
    schedule = ScheduleConfig(kind="constant", stop_at="mosaic").build(epochs, close)
    first = epochs - close  # upstream closes mosaic when epoch >= epochs - close_mosaic
    assert schedule(first / epochs) == 0.0
    if first:
        assert schedule((first - 1 + (batches - 1) / batches) / epochs) == 1.0


def test_mosaic_that_never_closes_never_stops() -> None:
    assert ScheduleConfig(kind="constant", stop_at="mosaic").build(10, 0)(1.0) == 1.0


def test_is_a_value() -> None:
    assert Schedule("linear", 0.3, 0.5) == Schedule("linear", 0.3, 0.5)
    schedule = Schedule("cosine")
    assert [schedule(0.3) for _ in range(3)] == [Schedule("cosine")(0.3)] * 3
