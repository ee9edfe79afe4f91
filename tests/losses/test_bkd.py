"""bkd: binary cross-entropy of each class, weighted by the disagreement."""

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
PARAMETERS: dict[str, object] = {"tau": 1.0, "beta": 1.0}

TAU, BETA = 2.0, 1.5


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive(student: Tensor, teacher: Tensor, tau: float = TAU, beta: float = BETA) -> list[list[float]]:
    n, k, a = student.shape
    rows = []
    for image in range(n):
        rows.append([0.0] * a)
        for anchor in range(a):
            for c in range(k):
                s, t = student[image, c, anchor].item(), teacher[image, c, anchor].item()
                q, p = sigmoid(s / tau), sigmoid(t / tau)
                bce = -(p * math.log(q) + (1 - p) * math.log(1 - q))
                rows[image][anchor] += bce * tau**2 * abs(sigmoid(t) - sigmoid(s)) ** beta
    return rows


class TestContract(ResponseContract):
    loss = "bkd"
    naive_na = staticmethod(naive)

    def build(self) -> DistillationLoss:
        return build_loss("bkd", tau=TAU, beta=BETA)


@pytest.mark.parametrize(("tau", "beta"), [(1.0, 1.0), (0.5, 2.0), (3.0, 0.5), (2.0, 0.0)])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 1, 5), (1, 4, 1)])
def test_formula(tau: float, beta: float, shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    expected = sum(map(sum, naive(student, teacher, tau, beta))) / (shape[0] * shape[2])
    assert build_loss("bkd", tau=tau, beta=beta)(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_defaults_are_1() -> None:
    student, teacher = random(1, 3, 2, seed=1), random(1, 3, 2, seed=2)
    expected = sum(map(sum, naive(student, teacher, 1.0, 1.0))) / 2
    assert build_loss("bkd")(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_classes_are_summed_not_averaged() -> None:
    """One class more on which the two agree changes nothing: the head's width is no scale of the loss."""
    student, teacher = random(2, 3, 7, seed=1), random(2, 3, 7, seed=2)
    agreed = random(2, 1, 7, seed=3)
    wider = build_loss("bkd")(torch.cat([student, agreed], 1), torch.cat([teacher, agreed], 1)).item()
    assert wider == pytest.approx(build_loss("bkd")(student, teacher).item(), rel=1e-12)


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_beta_0_is_the_teachers_entropy_at_best(tau: float) -> None:
    teacher = random(2, 3, 7, seed=2)
    loss = build_loss("bkd", tau=tau, beta=0)
    p = (teacher / tau).sigmoid()
    entropy = -(tau**2) * (p * p.log() + (1 - p) * (1 - p).log()).sum(1).mean().item()
    student = teacher.clone().requires_grad_()
    at_best = loss(student, teacher)
    at_best.backward()
    assert at_best.item() == pytest.approx(entropy, rel=1e-9)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12
    assert loss(teacher + 0.1, teacher) > at_best < loss(teacher - 0.1, teacher)


def test_gradient_flows_through_the_factor() -> None:
    """The decision of bkd.py, with its numbers: .181 at p_t = .5, p_s = .6; a detached factor would leave .010."""
    student = torch.tensor([[[math.log(0.6 / 0.4)]]], dtype=torch.float64, requires_grad=True)
    build_loss("bkd")(student, torch.zeros(1, 1, 1)).backward()
    bce = -0.5 * (math.log(0.6) + math.log(0.4))
    assert student.grad is not None
    assert student.grad.item() == pytest.approx(0.1 * 0.1 + 0.6 * 0.4 * bce, rel=1e-9)
    assert student.grad.item() == pytest.approx(0.181, abs=5e-4)


def test_descent_moves_the_student_towards_the_teacher() -> None:
    student, teacher = random(2, 3, 7, seed=1, scale=3).requires_grad_(), random(2, 3, 7, seed=2, scale=3)
    for tau, beta in ((1.0, 1.0), (4.0, 2.0), (0.5, 0.5)):
        (grad,) = torch.autograd.grad(build_loss("bkd", tau=tau, beta=beta)(student, teacher), student)
        assert (grad.sign() == (student - teacher).sign()).all()


@few_examples
@given(tau=st.floats(0.5, 4), beta=st.floats(0, 3))
def test_swapping_yes_and_no_changes_nothing(tau: float, beta: float) -> None:
    student, teacher = random(2, 3, 4, seed=1), random(2, 3, 4, seed=2)
    loss = build_loss("bkd", tau=tau, beta=beta)
    assert loss(-student, -teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-9)


logits = st.one_of(st.sampled_from([-60.0, 0.0, 60.0]), st.floats(-60, 60, width=32))


@pytest.mark.parametrize("beta", [0, 0.1, 0.5, 1, 2])
@few_examples
@given(s=logits, t=logits, tau=st.floats(0.25, 4))
def test_finite_at_extreme_logits(beta: float, s: float, t: float, tau: float) -> None:
    """Where two logits are equal a power below 1 has an infinite slope: it must not become NaN."""
    student = torch.tensor([[[s, t, t + 1e-6]]], dtype=torch.float32, requires_grad=True)
    value = build_loss("bkd", tau=tau, beta=beta)(student, torch.full((1, 1, 3), t))
    value.backward()
    assert value.isfinite()
    assert value >= 0
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert beta == 0 or student.grad[0, 0, 1] == 0


def test_confident_and_wrong_costs_the_logit() -> None:
    """At +-60 the cross-entropy is 60 and the factor 1: a log of a rounded sigmoid would be infinite."""
    value = build_loss("bkd")(torch.full((1, 1, 1), 60.0), torch.full((1, 1, 1), -60.0))
    assert value.item() == pytest.approx(60, rel=1e-6)


def test_errors() -> None:
    assert_rejects("bkd", "tau", [0, -1.0, *NOT_NUMBERS])
    assert_rejects("bkd", "beta", [-0.5, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match=r"has no parameter 'betta'. Did you mean 'beta'"):
        build_loss("bkd", betta=1.0)
