"""cwd: KL between softmaxes over the positions of each channel."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss

from .properties import NOT_NUMBERS, FeatureContract, assert_rejects, few_examples, random

TERM: dict[str, object] = {"weight": 1.0, "standardize": True}
PARAMETERS: dict[str, object] = {"tau": 1.0}


def naive(student: Tensor, teacher: Tensor, tau: float) -> float:
    n, c, h, w = student.shape
    total = 0.0
    for image in range(n):
        for channel in range(c):
            s = [math.exp(x / tau) for x in student[image, channel].reshape(-1).tolist()]
            t = [math.exp(x / tau) for x in teacher[image, channel].reshape(-1).tolist()]
            for i in range(h * w):
                p_t, p_s = t[i] / sum(t), s[i] / sum(s)
                total += p_t * (math.log(p_t) - math.log(p_s))
    return tau**2 * total / (n * c)


class TestContract(FeatureContract):
    loss = "cwd"

    def build(self) -> DistillationLoss:
        return build_loss("cwd", tau=2.0)


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 2), (3, 2, 5, 1)])
def test_formula(tau: float, shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    assert build_loss("cwd", tau=tau)(student, teacher).item() == pytest.approx(naive(student, teacher, tau), rel=1e-9)


def test_default_tau_is_1() -> None:
    student, teacher = random(1, 2, 3, 4, seed=1), random(1, 2, 3, 4, seed=2)
    assert build_loss("cwd")(student, teacher).item() == pytest.approx(naive(student, teacher, 1.0), rel=1e-9)


def test_hot_limit_is_half_the_squared_distance_of_centred_channels() -> None:
    """KL(p || q) -> sum (x - y)^2 / (2 n tau^2) for centred x, y as tau grows; tau^2 keeps it from vanishing."""
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    difference = (student - student.mean((2, 3), keepdim=True)) - (teacher - teacher.mean((2, 3), keepdim=True))
    value = build_loss("cwd", tau=1e4)(student, teacher).item()
    assert value == pytest.approx(difference.square().mean().item() / 2, rel=1e-3)


@few_examples
@given(offset=st.floats(-50, 50), size=st.tuples(st.integers(1, 3), st.integers(2, 4)), tau=st.floats(0.5, 5))
def test_offset_of_a_channel_does_not_matter(offset: float, size: tuple[int, int], tau: float) -> None:
    student, teacher = random(2, 3, *size, seed=1), random(2, 3, *size, seed=2)
    offset_c11 = offset * torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64).view(3, 1, 1)
    loss = build_loss("cwd", tau=tau)
    expected = loss(student, teacher).item()
    assert loss(student + offset_c11, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert expected >= 0


def test_channels_are_averaged_not_summed() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    loss = build_loss("cwd")
    alone = [loss(student[:, c : c + 1], teacher[:, c : c + 1]).item() for c in range(3)]
    assert loss(student, teacher).item() == pytest.approx(sum(alone) / 3, rel=1e-9)


def test_extreme_maps_stay_finite() -> None:
    student, teacher = random(1, 2, 3, 4, seed=1).float() * 1e4, random(1, 2, 3, 4, seed=2).float() * 1e4
    value = build_loss("cwd")(student.requires_grad_(), teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_errors() -> None:
    assert_rejects("cwd", "tau", [0, -1.0, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match=r"has no parameter 'taw'. Did you mean 'tau'"):
        build_loss("cwd", taw=1.0)
    with pytest.raises(ConfigError, match=r"one position \(H\*W = 1\).*Use --loss l2"):
        build_loss("cwd")(random(2, 3, 1, 1), random(2, 3, 1, 1))
