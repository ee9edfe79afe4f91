"""Overhaul distillation: margins against sampled and integrated normals, the masked loss, stage weights."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import truncnorm
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.overhaul import StageDistances, negative_mean, partial_l2

from .loss_helpers import assert_batch_mean, assert_precise, assert_student_only, random

STAGES = ("layer1", "layer2", "layer3", "layer4")


def norm(beta: list[float], gamma: list[float]) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(len(beta))
    module.weight.data, module.bias.data = torch.tensor(gamma), torch.tensor(beta)
    return module


def test_margin_is_the_mean_of_the_negative_half() -> None:
    beta, gamma = [0.0, 1.0, -1.0, 3.0, -8.0, 0.5], [1.0, 2.0, 0.5, -1.0, 1.0, -0.25]
    margins = negative_mean(norm(beta, gamma))
    for value, b, g in zip(margins.tolist(), beta, gamma, strict=True):
        expected = truncnorm(-math.inf, -b / abs(g), loc=b, scale=abs(g)).mean()
        assert value == pytest.approx(expected, rel=1e-6)
    assert margins[0].item() == pytest.approx(-math.sqrt(2 / math.pi), rel=1e-6)


def test_margin_of_extreme_channels_is_finite_and_not_positive() -> None:
    margins = negative_mean(norm([40.0, -40.0, 0.0, 5.0, -5.0, 1e4], [1.0, 1.0, 0.0, 0.0, 0.0, 1e-4]))
    assert margins.isfinite().all()
    assert (margins <= 0).all()
    assert margins.tolist() == pytest.approx([-1 / 40, -40, 0, 0, -5, 0], rel=1e-2, abs=1e-6)


def naive(student: Tensor, teacher: Tensor, margin: Tensor) -> float:
    total = 0.0
    for n in range(student.shape[0]):
        for c in range(student.shape[1]):
            for s, t in zip(student[n, c].flatten().tolist(), teacher[n, c].flatten().tolist(), strict=True):
                target = max(t, margin[c].item())
                if s > target or target > 0:
                    total += (s - target) ** 2
    return total / student.numel()


MARGIN = torch.tensor([-0.2, -1.0, 0.0], dtype=torch.float64)


def test_formula() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    value = partial_l2(student, teacher, MARGIN).item()
    assert value == pytest.approx(naive(student, teacher, MARGIN), rel=1e-9)


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(-3.0, -2.0, 0.0), (-0.5, -2.0, 0.25), (-3.0, 2.0, 25.0), (4.0, 2.0, 4.0), (-3.0, -0.5, 0.0), (-0.2, -0.5, 0.09)],
)
def test_cases_with_margin_minus_1(student: float, teacher: float, expected: float) -> None:
    value = partial_l2(torch.full((1, 1, 1, 1), student), torch.full((1, 1, 1, 1), teacher), torch.tensor([-1.0]))
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_gradient_precision_and_batch() -> None:
    student, teacher = random(4, 3, 4, 5, seed=1), random(4, 3, 4, 5, seed=2)
    assert_student_only(lambda s, t: partial_l2(s, t, MARGIN), student, teacher)
    assert_precise(lambda s, t: partial_l2(s, t, MARGIN), student * 20, teacher * 20)
    assert_batch_mean(lambda s, t: partial_l2(s, t, MARGIN), student, teacher)


def build() -> tuple[StageDistances, dict[str, Tensor], dict[str, Tensor]]:
    norms = {stage: norm([0.1] * (i + 2), [1.0] * (i + 2)) for i, stage in enumerate(STAGES)}
    torch.manual_seed(0)
    loss = StageDistances(dict.fromkeys(STAGES, 2), norms).double()
    student = {stage: random(3, 2, 4, 2, seed=i) for i, stage in enumerate(STAGES)}
    teacher = {stage: random(3, i + 2, 4, 2, seed=i + 9) for i, stage in enumerate(STAGES)}
    return loss, student, teacher


def test_stages_weigh_an_eighth_to_one() -> None:
    loss, student, teacher = build()
    expected = 0.0
    for i, stage in enumerate(STAGES):
        connected = loss.connectors[stage](student[stage])
        expected += 2.0 ** -(3 - i) * naive(connected, teacher[stage], getattr(loss, f"margin_{stage}"))
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_connectors_learn_the_teacher_does_not_and_a_doubled_batch_is_the_same() -> None:
    loss, student, teacher = build()
    inputs = [x.requires_grad_() for x in (*student.values(), *teacher.values())]
    once = loss(student, teacher)
    once.backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in inputs[:4])
    assert all(x.grad is None for x in inputs[4:])
    assert all(p.grad is not None for p in loss.parameters())
    twice = [{stage: torch.cat((x, x)) for stage, x in maps.items()} for maps in (student, teacher)]
    assert loss(*twice).item() == pytest.approx(once.item(), rel=1e-9)


def test_half_maps_under_autocast_are_connected_in_float32() -> None:
    loss, student, teacher = build()
    loss = loss.float()
    halves = [{stage: x.half() for stage, x in maps.items()} for maps in (student, teacher)]
    expected = loss(*({stage: x.float() for stage, x in maps.items()} for maps in halves))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(*halves), expected)


def test_errors() -> None:
    loss, student, teacher = build()
    with pytest.raises(ConfigError, match="no map of layer4: read all stages with pre_relu_features"):
        loss({stage: student[stage] for stage in STAGES[:3]}, teacher)
    with pytest.raises(ConfigError, match="stages layer3 and teacher stages layer3, layer4 differ"):
        StageDistances({"layer3": 2}, {"layer3": nn.BatchNorm2d(2), "layer4": nn.BatchNorm2d(2)})
    student["layer4"] = student["layer4"][:, :, :2]
    with pytest.raises(ConfigError, match=r"student map \(3, 5, 2, 2\) and teacher map \(3, 5, 4, 2\).*last_stride"):
        loss(student, teacher)
