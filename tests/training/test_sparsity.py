"""The proximal step against its formula, and what it promises whatever the optimizer does."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kd_yolo.prune.sparse.penalty import shrink, zero_share
from kd_yolo.prune.sparse.rates import rates_after


def naive_step(groups: list[list[list[float]]], share: float, steps_left: float) -> list[list[list[float]]]:
    """The step in plain Python: group -> layer -> channel."""
    out = []
    for layers in groups:
        sizes = [math.sqrt(sum(g * g for g in channel) / len(channel)) for channel in zip(*layers, strict=True)]
        cap = sorted(sizes)[round(share * len(sizes)) - 1]
        factors = [1.0 if s > cap else max(s - cap / steps_left, 0.0) / s if s else 0.0 for s in sizes]
        out.append([[g * f for g, f in zip(layer, factors, strict=True)] for layer in layers])
    return out


def zeros(group: list[torch.Tensor]) -> int:
    """Channels of a group whose gammas are all zero."""
    return int((torch.stack(group) == 0).all(0).sum())


@pytest.mark.parametrize("steps_left", [1.0, 3.7, 40.0])
def test_a_step_is_the_formula(steps_left: float) -> None:
    torch.manual_seed(0)
    groups = [[torch.randn(n, dtype=torch.float64) for _ in range(layers)] for n, layers in ((9, 1), (6, 3), (4, 2))]
    groups[1][0][2] = groups[1][1][2] = groups[1][2][2] = 0  # dead already
    expected = naive_step([[layer.tolist() for layer in group] for group in groups], 0.5, steps_left)
    shrink(groups, 0.5, steps_left)
    for group, naive in zip(groups, expected, strict=True):
        for layer, values in zip(group, naive, strict=True):
            assert torch.allclose(layer, torch.tensor(values, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_channel_with_one_gamma_gets_the_soft_threshold() -> None:
    gammas = torch.tensor([-0.1, 0.3, -0.5, 0.7, 0.2, 2.0, -3.0, 4.0], dtype=torch.float64)
    before = gammas.clone()
    threshold = shrink([[gammas]], 0.5, 2.0)
    assert threshold.tolist() == pytest.approx([0.25])  # half of 0.5, the 4th smallest
    for old, new in zip(before.tolist(), gammas.tolist(), strict=True):
        expected = math.copysign(max(abs(old) - 0.25, 0.0), old) if abs(old) <= 0.5 else old
        assert new == pytest.approx(expected, abs=1e-12)
    assert (gammas == 0).tolist() == [True, False, False, False, True, False, False, False]


def test_gammas_that_train_are_changed_without_a_graph() -> None:
    gammas = nn.Parameter(torch.linspace(0.1, 1, 8))
    threshold = shrink([[gammas]], 0.5, 2.0)
    assert gammas.is_leaf
    assert gammas.grad_fn is None
    assert not threshold.requires_grad
    assert float(gammas.detach()[0]) == 0


def test_without_gradients_lambda_stays_and_the_share_is_reached() -> None:
    torch.manual_seed(1)
    gammas = torch.rand(101) + 0.1
    start = gammas.clone()
    rates = [0.01 * (1 - i / 20) for i in range(20)]
    penalties, shares = [], []
    for i, rate in enumerate(rates):
        penalties.append(float(shrink([[gammas]], 0.4, sum(rates[i:]) / rate)) / rate)
        shares.append(zero_share([[gammas]]))
    assert penalties == pytest.approx([penalties[0]] * 20, rel=1e-4)
    assert penalties[0] == pytest.approx(float(start.sort().values[39]) / sum(rates), rel=1e-5)
    assert shares == sorted(shares)
    assert len(set(shares)) > 10  # little by little
    assert shares[-1] == pytest.approx(40 / 101)
    stayed = gammas != 0
    assert torch.equal(gammas[stayed], start[stayed])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**20), share=st.floats(0.05, 0.95), size=st.floats(0.0, 3.0), steps=st.integers(1, 12))
def test_never_more_zeros_than_wanted_and_as_many_after_the_last_step(
    seed: int, share: float, size: float, steps: int
) -> None:
    """Gradients of any size, a rate that falls, groups of one and of two layers; the zeros are kept afterwards."""
    generator = torch.Generator().manual_seed(seed)
    groups = [[torch.randn(n, generator=generator) for _ in range(layers)] for n, layers in ((30, 1), (23, 2))]
    wanted = [round(share * 30), round(share * 23)]
    rates = [0.1 / (i + 1) for i in range(steps)]
    for i, rate in enumerate([*rates, 0.01, 0.01]):
        for gamma in (gamma for group in groups for gamma in group):
            gamma.add_(torch.randn(len(gamma), generator=generator), alpha=-rate * size)
        shrink(groups, share, math.fsum(rates[i:]) / rate if i < steps else 1.0)
        assert all(zeros(group) <= most for group, most in zip(groups, wanted, strict=True))
        assert i < steps - 1 or [zeros(group) for group in groups] == wanted


def test_a_share_of_less_than_half_a_channel() -> None:
    gammas = torch.tensor([0.1, 1.0, 2.0])
    assert shrink([[gammas]], 0.1, 1.0).tolist() == [0.0]
    assert gammas.tolist() == pytest.approx([0.1, 1.0, 2.0])


def test_equal_gammas() -> None:
    """A new network's gammas are all 1: the wanted share of them goes, the same ones in every step."""
    gammas = torch.ones(10)
    for left in (3.0, 2.0, 1.0):
        shrink([[gammas]], 0.4, left)
    assert gammas.tolist() == [0.0] * 4 + [1.0] * 6


def test_a_parameter_keeps_its_gradient() -> None:
    gamma = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 3.0]))
    gamma.grad = torch.ones(4)
    shrink([[gamma.detach()]], 0.5, 1.0)
    assert gamma.tolist() == [0.0, -0.0, 2.0, 3.0]
    assert torch.equal(gamma.grad, torch.ones(4))


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
    whole = sum(factor(step // batches) for step in steps)
    assert rates_after(-1, every=every, batches=batches, epochs=epochs, factor=factor) == pytest.approx(whole)
    assert rates_after(steps[-1], every=every, batches=batches, epochs=epochs, factor=factor) == 0.0
