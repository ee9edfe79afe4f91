"""Relational distillation: distances and angles against naive loops, invariances."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.relation import RelationLoss, angle_relation, distance_relation

from .loss_helpers import NOT_NUMBERS, assert_precise, assert_rejects, assert_student_only, random

STUDENT, TEACHER = random(5, 3, seed=1), random(5, 7, seed=2)


def under_one(*weights: float) -> Callable[[Tensor, Tensor], Tensor]:
    loss = RelationLoss(*weights)
    return lambda student, teacher: loss(student, [teacher])


def huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def naive_distance(student: Tensor, teacher: Tensor) -> float:
    def scaled(x: list[list[float]]) -> list[float]:
        distances = [math.dist(a, b) for a, b in itertools.permutations(x, 2)]
        mean = sum(distances) / len(distances)
        return [d / mean for d in distances]

    pairs = list(zip(scaled(student.tolist()), scaled(teacher.tolist()), strict=True))
    return sum(huber(s - t) for s, t in pairs) / len(pairs)


def naive_angle(student: Tensor, teacher: Tensor) -> float:
    def cosine(i: list[float], j: list[float], k: list[float]) -> float:
        dot = sum((a - b) * (c - b) for a, b, c in zip(i, j, k, strict=True))
        return dot / math.dist(i, j) / math.dist(k, j)

    rows_s, rows_t = student.tolist(), teacher.tolist()
    values = [
        huber(cosine(rows_s[i], rows_s[j], rows_s[k]) - cosine(rows_t[i], rows_t[j], rows_t[k]))
        for i, j, k in itertools.permutations(range(len(rows_s)), 3)
    ]
    return sum(values) / len(values)


def test_distance_formula() -> None:
    assert distance_relation(STUDENT, TEACHER).item() == pytest.approx(naive_distance(STUDENT, TEACHER), rel=1e-9)


def test_angle_formula() -> None:
    assert angle_relation(STUDENT, TEACHER).item() == pytest.approx(naive_angle(STUDENT, TEACHER), rel=1e-9)


def test_beyond_1_huber_is_linear() -> None:
    student = torch.tensor([[0.0], [1.0], [50.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0], [50.0], [51.0]], dtype=torch.float64)
    assert distance_relation(student, teacher).item() == pytest.approx(naive_distance(student, teacher), rel=1e-9)


def test_default_weights_are_1_and_2() -> None:
    expected = distance_relation(STUDENT, TEACHER) + 2 * angle_relation(STUDENT, TEACHER)
    assert under_one()(STUDENT, TEACHER).item() == pytest.approx(expected.item(), rel=1e-9)
    assert under_one(3.0, 0.0)(STUDENT, TEACHER).item() == pytest.approx(
        3 * distance_relation(STUDENT, TEACHER).item(), rel=1e-9
    )
    assert under_one(0.0, 1.0)(STUDENT, TEACHER).item() == pytest.approx(
        angle_relation(STUDENT, TEACHER).item(), rel=1e-9
    )


def test_several_teachers_count_alike() -> None:
    other = random(5, 4, seed=3)
    mean = (under_one()(STUDENT, TEACHER) + under_one()(STUDENT, other)) / 2
    assert RelationLoss()(STUDENT, [TEACHER, other]).item() == pytest.approx(mean.item(), rel=1e-12)


def test_moved_turned_and_scaled_embeddings_are_the_same() -> None:
    turn, _ = torch.linalg.qr(random(3, 3, seed=5))
    moved = 7 * STUDENT @ turn + random(3, seed=6)
    loss = under_one()
    assert loss(moved, STUDENT).item() == pytest.approx(0, abs=1e-12)
    assert loss(moved, TEACHER).item() == pytest.approx(loss(STUDENT, TEACHER).item(), rel=1e-9)


def test_gradient_and_precision() -> None:
    for loss in (distance_relation, angle_relation):
        assert_student_only(loss, STUDENT, TEACHER)
        assert_precise(loss, STUDENT * 30, TEACHER * 30)


def test_order_does_not_matter() -> None:
    assert under_one()(STUDENT.flip(0), TEACHER.flip(0)).item() == pytest.approx(
        under_one()(STUDENT, TEACHER).item(), rel=1e-9
    )


def test_equal_images_have_a_finite_gradient() -> None:
    for student in (torch.zeros(4, 3), torch.tensor([[0.0, 1], [0, 1], [2, 3], [4, 4]])):
        student.requires_grad_()
        under_one()(student, torch.zeros(4, 7)).backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()


def test_errors() -> None:
    assert_rejects(RelationLoss, "distance", [-1.0, None, *NOT_NUMBERS])
    assert_rejects(RelationLoss, "angle", [-1.0, None, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match="distance and angle are both 0"):
        RelationLoss(0, 0)
    with pytest.raises(ConfigError, match="between 5 student and 4 teacher embeddings"):
        under_one()(STUDENT, TEACHER[:4])
    with pytest.raises(ConfigError, match="expected the same 3 images or more"):
        angle_relation(STUDENT[:2], TEACHER[:2])
    with pytest.raises(ConfigError, match="expected the same 2 images or more"):
        distance_relation(STUDENT[:1], TEACHER[:1])
