"""dfl_kl: KL between the distributions of each side of a box over its bins."""

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

TERM: dict[str, object] = {"weight": 2.0}
PARAMETERS: dict[str, object] = {"tau": 1.0, "bins": 16}

TAU, BINS = 2.0, 3


def naive(student: Tensor, teacher: Tensor, tau: float = TAU, bins: int = BINS) -> list[list[float]]:
    n, _, a = student.shape
    rows = []
    for image in range(n):
        rows.append([0.0] * a)
        for anchor in range(a):
            for side in range(4):
                channels = range(side * bins, (side + 1) * bins)
                s = [math.exp(student[image, c, anchor].item() / tau) for c in channels]
                t = [math.exp(teacher[image, c, anchor].item() / tau) for c in channels]
                for r in range(bins):
                    p_t, p_s = t[r] / sum(t), s[r] / sum(s)
                    rows[image][anchor] += tau**2 * p_t * (math.log(p_t) - math.log(p_s)) / 4
    return rows


class TestContract(ResponseContract):
    loss = "dfl_kl"
    shape = (2, 4 * BINS, 7)
    reads = "bins"
    gate = "weight_na"
    shape_help = r"need equal bins \(reg_max\) and anchor points\..*use --loss box_iou"
    mismatch = ((2, 64, 7), (2, 12, 7))
    naive_na = staticmethod(naive)

    def build(self) -> DistillationLoss:
        return build_loss("dfl_kl", tau=TAU, bins=BINS)


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("shape", "bins"), [((2, 12, 7), 3), ((1, 8, 1), 2), ((3, 64, 2), 16)])
def test_formula(tau: float, shape: tuple[int, ...], bins: int) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    expected = sum(map(sum, naive(student, teacher, tau, bins))) / (shape[0] * shape[2])
    value = build_loss("dfl_kl", tau=tau, bins=bins)(student, teacher).item()
    assert value == pytest.approx(expected, rel=1e-9)


def test_defaults_are_tau_1_and_16_bins() -> None:
    student, teacher = random(1, 64, 2, seed=1), random(1, 64, 2, seed=2)
    expected = sum(map(sum, naive(student, teacher, 1.0, 16))) / 2
    assert build_loss("dfl_kl")(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_the_teacher_is_the_reference() -> None:
    """KL(t || s): a student that rules out what the teacher holds possible pays; one that is too broad pays little."""
    sharp, broad = torch.tensor([30.0, 0.0]).repeat(4), torch.zeros(8)
    loss = build_loss("dfl_kl", bins=2)
    as_student = loss(sharp.reshape(1, 8, 1), broad.reshape(1, 8, 1)).item()
    assert as_student == pytest.approx(0.5 * 30 - math.log(2), rel=1e-5)
    assert loss(broad.reshape(1, 8, 1), sharp.reshape(1, 8, 1)).item() == pytest.approx(math.log(2), rel=1e-5)


def test_sides_are_averaged_and_do_not_mix() -> None:
    """A difference in one side costs a quarter of the same difference in all four."""
    teacher = random(1, 4, 3, 5, seed=2)
    other = random(1, 4, 3, 5, seed=1)
    loss = build_loss("dfl_kl", bins=3)
    alone = []
    for side in range(4):
        student = teacher.clone()
        student[:, side] = other[:, side]
        alone.append(loss(student.flatten(1, 2), teacher.flatten(1, 2)).item())
    together = loss(other.flatten(1, 2), teacher.flatten(1, 2)).item()
    assert min(alone) > 0
    assert together == pytest.approx(sum(alone), rel=1e-9)


def test_hot_limit_is_half_the_squared_distance_of_centred_bins() -> None:
    student, teacher = random(2, 4, 3, 7, seed=1), random(2, 4, 3, 7, seed=2)
    difference = (student - student.mean(2, keepdim=True)) - (teacher - teacher.mean(2, keepdim=True))
    value = build_loss("dfl_kl", tau=1e4, bins=3)(student.flatten(1, 2), teacher.flatten(1, 2)).item()
    assert value == pytest.approx(difference.square().mean().item() / 2, rel=1e-3)


@few_examples
@given(offset=st.floats(-50, 50), bins=st.integers(2, 5), tau=st.floats(0.5, 5))
def test_offset_of_a_side_does_not_matter(offset: float, bins: int, tau: float) -> None:
    student, teacher = random(2, 4 * bins, 3, seed=1), random(2, 4 * bins, 3, seed=2)
    offset_c1 = offset * torch.tensor([1.0, 0.0, -2.0, 0.5], dtype=torch.float64).repeat_interleave(bins).unsqueeze(1)
    loss = build_loss("dfl_kl", tau=tau, bins=bins)
    expected = loss(student, teacher).item()
    assert loss(student + offset_c1, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert expected >= 0


@few_examples
@given(s=st.sampled_from([-60.0, 0.0, 60.0]), t=st.sampled_from([-60.0, 0.0, 60.0]), tau=st.floats(0.25, 4))
def test_finite_at_extreme_logits(s: float, t: float, tau: float) -> None:
    student = torch.tensor([s, -s]).repeat(4).reshape(1, 8, 1).requires_grad_()
    value = build_loss("dfl_kl", tau=tau, bins=2)(student, torch.tensor([t, -t]).repeat(4).reshape(1, 8, 1))
    value.backward()
    assert value.isfinite()
    assert value >= 0
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_errors() -> None:
    assert_rejects("dfl_kl", "tau", [0, -1.0, *NOT_NUMBERS])
    assert_rejects("dfl_kl", "bins", [0, -1, 2.0, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match=r"bins is 1: .*reg_max 1 \(YOLO26\).* Use --loss box_iou"):
        build_loss("dfl_kl", bins=1)
    with pytest.raises(ConfigError, match=r"bins=16, which is 64 channels; the tensors have 32: build it with bins=8"):
        build_loss("dfl_kl")(random(2, 32, 7), random(2, 32, 7))
    for wrong in (4, 66):
        with pytest.raises(ConfigError, match=rf"the tensors have {wrong}: it takes the raw box output of a DFL head;"):
            build_loss("dfl_kl")(random(2, wrong, 7), random(2, wrong, 7))
