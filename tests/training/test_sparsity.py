"""The proximal step against its formula, and what it promises whatever the optimizer does."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.prune.sparsity import shrink, size_at, soft_threshold, zero_share
from kd_yolo.training.rates import rates_after


def test_soft_threshold_is_the_formula() -> None:
    values = torch.linspace(-2, 2, 41, dtype=torch.float64)
    thresholds = torch.linspace(0, 1, 41, dtype=torch.float64)
    naive = [math.copysign(max(abs(v) - t, 0.0), v) for v, t in zip(values.tolist(), thresholds.tolist(), strict=True)]
    got = soft_threshold(values, thresholds)
    assert torch.allclose(got, torch.tensor(naive, dtype=torch.float64), rtol=0, atol=1e-15)
    assert ((got == 0) == (values.abs() <= thresholds)).all()  # exact zeros
    assert not (torch.signbit(got) & (got == 0)).any()


def test_the_size_of_a_share() -> None:
    sizes = torch.tensor([3.0, 1.0, 2.0, 4.0])
    assert [float(size_at(share, sizes)) for share in (0.1, 0.25, 0.5, 0.9)] == [0, 1, 2, 4]


def test_a_step_shrinks_by_rate_times_lambda() -> None:
    """Two layers with their own learning rates: each loses its own rate times the common lambda, zeros excepted."""
    torch.manual_seed(0)
    gammas = [torch.randn(5, dtype=torch.float64), torch.randn(7, dtype=torch.float64)]
    before, rates = [gamma.clone() for gamma in gammas], [0.02, 0.06]
    penalty = float(shrink(gammas, rates, 0.5, 4.0))
    # the 6th smallest, in units of its own rate, loses a quarter of itself: 4 equal steps would take it to zero
    sizes = sorted([*(before[0].abs() / 0.02).tolist(), *(before[1].abs() / 0.06).tolist()])
    assert penalty == pytest.approx(sizes[5] / 4)
    for old, new, rate in zip(before, gammas, rates, strict=True):
        naive = [math.copysign(max(abs(g) - rate * penalty, 0.0), g) for g in old.tolist()]
        assert torch.allclose(new, torch.tensor(naive, dtype=torch.float64), rtol=0, atol=1e-12)


def test_without_gradients_lambda_stays_and_the_share_is_reached() -> None:
    torch.manual_seed(1)
    gammas = [torch.rand(40) + 0.1, torch.rand(61) + 0.1]
    start = torch.cat(gammas)
    rates = [0.01 * (1 - i / 20) for i in range(20)]
    penalties, shares = [], []
    for i, rate in enumerate(rates):
        penalties.append(float(shrink(gammas, [rate, rate], 0.5, sum(rates[i:]) / rate)))
        shares.append(zero_share(gammas))
    assert penalties == pytest.approx([penalties[0]] * 20, rel=1e-4)
    assert penalties[0] == pytest.approx(float(start.sort().values[49]) / sum(rates), rel=1e-5)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(50 / 101)
    assert sum(torch.cat(gammas) == 0) == 50


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**20), share=st.floats(0.05, 0.95), size=st.floats(0.0, 3.0), steps=st.integers(1, 12))
def test_never_more_zeros_than_wanted_and_as_many_after_the_last_step(
    seed: int, share: float, size: float, steps: int
) -> None:
    """Gradients of any size, momentum, a rate that falls."""
    generator = torch.Generator().manual_seed(seed)
    gammas = [torch.randn(30, generator=generator), torch.randn(23, generator=generator)]
    wanted = round(share * 53)
    rates = [0.1 / (i + 1) for i in range(steps)]
    for i, rate in enumerate(rates):
        for gamma in gammas:
            gamma.add_(torch.randn(len(gamma), generator=generator), alpha=-rate * size)
        shrink(gammas, [rate, rate], share, math.fsum(rates[i:]) / rate)
        assert round(zero_share(gammas) * 53) <= wanted
    assert round(zero_share(gammas) * 53) == wanted


def loop_steps(batches: int, epochs: int, every: int) -> list[int]:
    """The batches after which ultralytics' loop steps, as the loop says it."""
    last, found = -1, []
    for batch in range(batches * epochs):
        if batch - last >= every:
            found.append(batch)
            last = batch
    return found


@pytest.mark.parametrize(
    ("batches", "epochs", "every"), [(4, 5, 1), (7, 4, 3), (3, 6, 5), (5, 3, 5), (2, 9, 4), (1, 3, 1)]
)
def test_the_rates_of_the_steps_to_come(batches: int, epochs: int, every: int) -> None:
    steps = loop_steps(batches, epochs, every)
    factor = lambda epoch: 1.0 - 0.1 * epoch  # noqa: E731
    for i, step in enumerate(steps):
        expected = sum(factor(later // batches) for later in steps[i + 1 :])
        got = rates_after(step, every=every, batches=batches, epochs=epochs, factor=factor)
        assert got == pytest.approx(expected, abs=1e-12), (i, step)
    assert rates_after(steps[-1], every=every, batches=batches, epochs=epochs, factor=factor) == 0.0
