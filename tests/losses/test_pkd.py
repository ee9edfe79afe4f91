"""pkd: 1 - Pearson correlation of every channel, as the squared distance of standardised maps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import build_loss

from .properties import FeatureContract, few_examples, random

TERM: dict[str, object] = {"weight": 1.0}
PARAMETERS: dict[str, object] = {}

EPS = 1e-6


def standardised(channel: list[float]) -> list[float]:
    mean = sum(channel) / len(channel)
    std = math.sqrt(sum((x - mean) ** 2 for x in channel) / (len(channel) - 1))
    return [(x - mean) / (std + EPS) for x in channel]


def naive(student: Tensor, teacher: Tensor) -> float:
    total = 0.0
    for c in range(student.shape[1]):
        s, t = standardised(student[:, c].reshape(-1).tolist()), standardised(teacher[:, c].reshape(-1).tolist())
        total += sum((a - b) ** 2 for a, b in zip(s, t, strict=True))
    return total / student.numel() / 2


class TestContract(FeatureContract):
    loss = "pkd"
    batch_mean = False  # the unbiased deviation: see test_batch_size


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 1, 1), (1, 2, 1, 2)])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_formula(shape: tuple[int, ...], scale: float) -> None:
    """The small scale is where the epsilon shows."""
    student, teacher = random(*shape, seed=1, scale=scale) + scale, random(*shape, seed=2)
    assert build_loss("pkd")(student, teacher).item() == pytest.approx(naive(student, teacher), rel=1e-9)


def test_is_one_minus_the_correlation() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    s_cp, t_cp = student.transpose(0, 1).reshape(3, -1), teacher.transpose(0, 1).reshape(3, -1)
    r_c = torch.stack([torch.corrcoef(torch.stack([s_cp[c], t_cp[c]]))[0, 1] for c in range(3)])
    num = s_cp.shape[1]
    expected = (num - 1) / num * (1 - r_c.mean().item())
    assert build_loss("pkd")(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_limits() -> None:
    """Opposite maps: r = -1, the largest value there is."""
    teacher = random(2, 3, 4, 5)
    assert build_loss("pkd")(-teacher, teacher).item() == pytest.approx(2 * 39 / 40, rel=1e-5)


def test_batch_size() -> None:
    """Only the factor (P-1)/P knows the batch size: twice the same images leave 1 - r as it was."""
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    loss = build_loss("pkd")
    once, twice = loss(student, teacher).item(), loss(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1)).item()
    assert twice / (79 / 80) == pytest.approx(once / (39 / 40), rel=1e-5)
    assert loss(student.flip(0), teacher.flip(0)).item() == pytest.approx(once, rel=1e-12)


@few_examples
@given(scale=st.floats(0.5, 100), offset=st.floats(-100, 100), size=st.tuples(st.integers(1, 3), st.integers(2, 4)))
def test_scale_and_offset_of_a_channel_do_not_matter(scale: float, offset: float, size: tuple[int, int]) -> None:
    student, teacher = random(2, 3, *size, seed=1), random(2, 3, *size, seed=2)
    scale_c11 = torch.tensor([1.0, scale, 2.0], dtype=torch.float64).view(3, 1, 1)
    loss = build_loss("pkd")
    expected = loss(student, teacher).item()
    assert loss(scale_c11 * student + offset, teacher).item() == pytest.approx(expected, rel=1e-4)
    assert 0 <= expected <= 2


def test_dead_channels_are_finite() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1).float(), random(2, 3, 4, 5, seed=2).float()
    student[:, 0] = 0
    teacher[:, 1] = 7
    value = build_loss("pkd")(student.requires_grad_(), teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"one value \(N\*H\*W = 1\).*Use --loss l2"):
        build_loss("pkd")(random(1, 3, 1, 1), random(1, 3, 1, 1))
    with pytest.raises(ConfigError, match=r"loss 'pkd' has no parameter 'tau'. It takes: none."):
        build_loss("pkd", tau=1.0)
