"""kl: KL between softmaxes over the classes of each anchor point."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss

from .properties import NOT_NUMBERS, ResponseContract, assert_rejects, few_examples, random

TERM: dict[str, object] = {"weight": 1.0}
PARAMETERS: dict[str, object] = {"tau": 1.0}

TAU = 2.0


def naive(student: Tensor, teacher: Tensor, tau: float = TAU) -> list[list[float]]:
    n, k, a = student.shape
    rows = []
    for image in range(n):
        rows.append([0.0] * a)
        for anchor in range(a):
            s = [math.exp(student[image, c, anchor].item() / tau) for c in range(k)]
            t = [math.exp(teacher[image, c, anchor].item() / tau) for c in range(k)]
            for c in range(k):
                p_t, p_s = t[c] / sum(t), s[c] / sum(s)
                rows[image][anchor] += tau**2 * p_t * (math.log(p_t) - math.log(p_s))
    return rows


class TestContract(ResponseContract):
    loss = "kl"
    naive_na = staticmethod(naive)

    def build(self) -> DistillationLoss:
        return build_loss("kl", tau=TAU)


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 2, 1), (3, 5, 2)])
def test_formula(tau: float, shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    expected = sum(map(sum, naive(student, teacher, tau))) / (shape[0] * shape[2])
    assert build_loss("kl", tau=tau)(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_default_tau_is_1() -> None:
    student, teacher = random(1, 3, 2, seed=1), random(1, 3, 2, seed=2)
    expected = sum(map(sum, naive(student, teacher, 1.0))) / 2
    assert build_loss("kl")(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_hot_limit_is_half_the_squared_distance_of_centred_logits() -> None:
    """Hinton et al., equation 4: tau^2 * KL -> sum_k (x - y)^2 / (2 K) for logits centred over the classes."""
    student, teacher = random(2, 3, 7, seed=1), random(2, 3, 7, seed=2)
    difference = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    value = build_loss("kl", tau=1e4)(student, teacher).item()
    assert value == pytest.approx(difference.square().mean().item() / 2, rel=1e-3)


@few_examples
@given(offset=st.floats(-50, 50), num_classes=st.integers(2, 5), tau=st.floats(0.5, 5))
def test_offset_of_an_anchor_does_not_matter(offset: float, num_classes: int, tau: float) -> None:
    student, teacher = random(2, num_classes, 3, seed=1), random(2, num_classes, 3, seed=2)
    offset_11a = offset * torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    loss = build_loss("kl", tau=tau)
    expected = loss(student, teacher).item()
    assert loss(student + offset_11a, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert expected >= 0


@few_examples
@given(s=st.floats(-60, 60), t=st.floats(-60, 60), tau=st.floats(0.25, 4))
def test_finite_at_extreme_logits(s: float, t: float, tau: float) -> None:
    student = torch.tensor([[[s], [-s]]], dtype=torch.float32, requires_grad=True)
    value = build_loss("kl", tau=tau)(student, torch.tensor([[[t], [-t]]], dtype=torch.float32))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_errors() -> None:
    assert_rejects("kl", "tau", [0, -1.0, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match=r"has no parameter 'taus'. Did you mean 'tau'"):
        build_loss("kl", taus=1.0)
    with pytest.raises(ConfigError, match=r"the logits have 1 class: .* always 0. Use --loss bkd"):
        build_loss("kl")(random(2, 1, 7), random(2, 1, 7))
