"""Logit distillation: kl, sym_kl and true js against naive loops, limits, several teachers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.logit import DIVERGENCES, LogitDistillation, mean_teacher

from .loss_helpers import (
    NOT_NUMBERS,
    assert_batch_mean,
    assert_precise,
    assert_rejects,
    assert_student_only,
    random,
)

NAMES = ["js", "sym_kl", "kl"]


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(x / temperature) for x in row]
    return [x / sum(powers) for x in powers]


def divergence(a: list[float], b: list[float]) -> float:
    return sum(x * (math.log(x) - math.log(y)) for x, y in zip(a, b, strict=True))


def of_row(name: str, p: list[float], q: list[float]) -> float:
    if name == "kl":
        return divergence(p, q)
    if name == "sym_kl":
        return (divergence(p, q) + divergence(q, p)) / 2
    m = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    return (divergence(p, m) + divergence(q, m)) / 2


def build(name: str, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss under one teacher."""
    loss = LogitDistillation(name, temperature)
    return lambda student, teacher: loss(student, [teacher])


def naive(name: str, student: Tensor, teacher: Tensor, temperature: float) -> float:
    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    values = [of_row(name, softmax(t, temperature), softmax(s, temperature)) for s, t in rows]
    return temperature**2 * sum(values) / len(values)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_formula(name: str, temperature: float) -> None:
    student, teacher = random(5, 7, seed=1, scale=2), random(5, 7, seed=2, scale=2)
    value = build(name, temperature)(student, teacher).item()
    assert value == pytest.approx(naive(name, student, teacher, temperature), rel=1e-9)


@settings(deadline=None, max_examples=20, derandomize=True, database=None)
@given(name=st.sampled_from(NAMES), scale=st.floats(0.1, 100), offset=st.floats(-50, 50), seed=st.integers(0, 99))
def test_bounds_and_offsets(name: str, scale: float, offset: float, seed: int) -> None:
    student, teacher = random(3, 4, seed=seed, scale=scale), random(3, 4, seed=seed + 100, scale=scale)
    loss = build(name, 2.0)
    value = loss(student, teacher).item()
    assert value >= 0
    assert loss(student + offset, teacher).item() == pytest.approx(value, rel=1e-6, abs=1e-12)
    assert loss(student, student.clone()).item() == pytest.approx(0, abs=1e-12)
    if name == "js":
        assert value <= 4 * math.log(2) + 1e-9


def test_js_of_disjoint_labels_is_log_2_and_the_symmetric_ones_are_symmetric() -> None:
    student, teacher = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert build("js", 2.0)(student, teacher).item() == pytest.approx(4 * math.log(2), rel=1e-6)
    a, b = random(3, 4, seed=1), random(3, 4, seed=2)
    for name, same in (("js", True), ("sym_kl", True), ("kl", False)):
        loss = build(name, 1.0)
        assert (loss(a, b).item() == pytest.approx(loss(b, a).item(), rel=1e-9)) is same


@pytest.mark.parametrize("name", NAMES)
def test_hot_limit_does_not_vanish(name: str) -> None:
    """T^2 KL -> sum (x - y)^2 / (2K) for centred logits as T grows; Jensen-Shannon is a quarter of it."""
    student, teacher = random(5, 7, seed=1), random(5, 7, seed=2)
    gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    expected = gap.square().sum(1).mean().item() / 14 * (0.25 if name == "js" else 1)
    assert build(name, 1e3)(student, teacher).item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_precision_and_batch(name: str) -> None:
    student, teacher = random(4, 5, seed=1), random(4, 5, seed=2)
    loss = build(name, 2.0)
    assert_student_only(loss, student, teacher)
    assert_precise(loss, student * 30, teacher * 30)
    assert_batch_mean(loss, student, teacher)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_stay_finite(name: str) -> None:
    student, teacher = random(4, 5, seed=1, scale=1e4).float().requires_grad_(), random(4, 5, seed=2, scale=1e4).float()
    value = build(name, 1.0)(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_several_teachers_are_the_mean_of_their_soft_labels() -> None:
    student, first, second = random(4, 5, seed=1), random(4, 5, seed=2), random(4, 5, seed=3).requires_grad_()
    mean = mean_teacher([first, second], 3.0)
    assert torch.allclose((mean / 3).softmax(1), ((first / 3).softmax(1) + (second / 3).softmax(1)) / 2, rtol=1e-12)
    assert not mean.requires_grad
    loss = LogitDistillation("js", 3.0)
    assert loss(student, [first, second]).item() == pytest.approx(loss(student, [mean]).item(), rel=1e-12)
    assert loss(student, [first]).item() == pytest.approx(naive("js", student, first, 3.0), rel=1e-9)
    assert loss(student, [first, first]).item() == pytest.approx(loss(student, [first]).item(), rel=1e-9)
    assert mean_teacher([first.half(), second.half()], 3.0).dtype == torch.float32


def test_errors() -> None:
    assert list(DIVERGENCES) == NAMES
    with pytest.raises(ConfigError, match=r"unknown divergence 'jss'. Did you mean 'js'\? Known: js, sym_kl, kl"):
        LogitDistillation("jss")
    assert_rejects(
        lambda temperature: LogitDistillation("kl", temperature), "temperature", [0, -1.0, None, *NOT_NUMBERS]
    )
    with pytest.raises(
        ConfigError, match=r"student logits \(4, 5\) and teacher logits \(4, 6\) differ.*same identities"
    ):
        LogitDistillation()(random(4, 5), [random(4, 6)])
    for teachers in ([], [random(4, 5), random(4, 6)]):
        with pytest.raises(ConfigError, match=r"teachers give logits of shapes .* expected one shape"):
            LogitDistillation()(random(4, 5), teachers)
