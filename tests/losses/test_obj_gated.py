"""obj_gated: class logits and box distances compared as far as the teacher sees an object."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss

from .properties import NOT_NUMBERS, HeadContract, assert_rejects, few_examples, random, uniform

TERM: dict[str, object] = {"weight": 1.0}
PARAMETERS: dict[str, object] = {"kind": "l2", "tau": 1.0, "box_weight": 1.0}

TAU, BOX_WEIGHT = 2.0, 0.7


def naive_kl(s: list[float], t: list[float], tau: float) -> float:
    e_s, e_t = [math.exp(x / tau) for x in s], [math.exp(x / tau) for x in t]
    p_s, p_t = [x / sum(e_s) for x in e_s], [x / sum(e_t) for x in e_t]
    return tau**2 * sum(q * (math.log(q) - math.log(p)) for p, q in zip(p_s, p_t, strict=True))


def naive(student: Tensor, teacher: Tensor, gate: Tensor, kind: str, tau: float, box_weight: float) -> float:
    n, channels, a = student.shape
    classes = boxes = 0.0
    for image in range(n):
        for anchor in range(a):
            s, t = student[image, :, anchor].tolist(), teacher[image, :, anchor].tolist()
            o = gate[image, anchor].item()
            boxes += sum(o * (s[side] - t[side]) ** 2 for side in range(4)) / (4 * n * a)
            if kind == "kl":
                classes += o * naive_kl(s[4:], t[4:], tau) / (n * a)
            else:
                classes += sum(o * (s[c] - t[c]) ** 2 for c in range(4, channels)) / (n * a * (channels - 4))
    return classes + box_weight * boxes


class _Contract(HeadContract):
    loss = "obj_gated"
    shape = (2, 7, 5)
    reads = "predictions"
    shape_help = (
        r"predictions need equal classes and anchor points\. Use a feature loss \(--loss cwd\), or --loss box_iou"
    )
    mismatch = ((2, 84, 5), (2, 7, 5))

    def context(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        return {"gate_na": uniform(shape[0], shape[2], seed=3)}


class TestContractL2(_Contract):
    def build(self) -> DistillationLoss:
        return build_loss("obj_gated", box_weight=BOX_WEIGHT)


class TestContractKL(_Contract):
    def build(self) -> DistillationLoss:
        return build_loss("obj_gated", kind="kl", tau=TAU, box_weight=BOX_WEIGHT)


@pytest.mark.parametrize(("kind", "tau"), [("l2", 1.0), ("kl", 1.0), ("kl", 3.0)])
@pytest.mark.parametrize("shape", [(2, 7, 5), (1, 6, 1), (3, 9, 2)])
@pytest.mark.parametrize("box_weight", [0, 1.0, 0.3])
def test_formula(kind: str, tau: float, shape: tuple[int, ...], box_weight: float) -> None:
    student, teacher, gate = random(*shape, seed=1), random(*shape, seed=2), uniform(shape[0], shape[2], seed=3)
    expected = naive(student, teacher, gate, kind, tau, box_weight)
    loss = build_loss("obj_gated", kind=kind, tau=tau, box_weight=box_weight)
    assert loss(student, teacher, gate_na=gate).item() == pytest.approx(expected, rel=1e-9)


def test_defaults_are_l2_and_box_weight_1() -> None:
    student, teacher, gate = random(2, 7, 5, seed=1), random(2, 7, 5, seed=2), uniform(2, 5, seed=3)
    expected = naive(student, teacher, gate, "l2", 1.0, 1.0)
    assert build_loss("obj_gated")(student, teacher, gate_na=gate).item() == pytest.approx(expected, rel=1e-9)


def test_one_class_is_defined_for_l2() -> None:
    student, teacher, gate = random(2, 5, 3, seed=1), random(2, 5, 3, seed=2), uniform(2, 3, seed=3)
    expected = naive(student, teacher, gate, "l2", 1.0, 1.0)
    assert build_loss("obj_gated")(student, teacher, gate_na=gate).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["l2", "kl"])
@few_examples
@given(scale=st.floats(0, 5))
def test_is_proportional_to_the_gate(kind: str, scale: float) -> None:
    """A mean over all anchors: the gate's own sum is no divisor, so few objects are a small loss."""
    student, teacher, gate = random(2, 7, 5, seed=1), random(2, 7, 5, seed=2), uniform(2, 5, seed=3)
    loss = build_loss("obj_gated", kind=kind)
    once = loss(student, teacher, gate_na=gate).item()
    assert loss(student, teacher, gate_na=scale * gate).item() == pytest.approx(scale * once, rel=1e-9)


@pytest.mark.parametrize("kind", ["l2", "kl"])
def test_no_objects_give_zero_and_finite(kind: str) -> None:
    student, teacher = random(2, 7, 5, seed=1).requires_grad_(), random(2, 7, 5, seed=2)
    value = build_loss("obj_gated", kind=kind)(student, teacher, gate_na=torch.zeros(2, 5))
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


@pytest.mark.parametrize("kind", ["l2", "kl"])
def test_closed_anchors_get_no_gradient(kind: str) -> None:
    student, teacher, gate = random(2, 7, 5, seed=1).requires_grad_(), random(2, 7, 5, seed=2), torch.ones(2, 5)
    gate[0, 1:] = 0
    build_loss("obj_gated", kind=kind)(student, teacher, gate_na=gate).backward()
    assert student.grad is not None
    assert (student.grad[0, :, 1:] == 0).all()
    assert (student.grad[0, :, 0] != 0).all()
    assert (student.grad[1] != 0).all()


def test_hot_kl_is_half_the_l2_of_centred_logits() -> None:
    """Why l2 on logits and KL with a high temperature pull alike."""
    student, teacher = random(2, 7, 5, seed=1), random(2, 7, 5, seed=2)
    for x in (student, teacher):
        x[:, 4:] -= x[:, 4:].mean(1, keepdim=True)
    gate = uniform(2, 5, seed=3)
    hot = build_loss("obj_gated", kind="kl", tau=1e4, box_weight=0)(student, teacher, gate_na=gate).item()
    l2 = build_loss("obj_gated", box_weight=0)(student, teacher, gate_na=gate).item()
    assert hot == pytest.approx(l2 / 2, rel=1e-3)


@pytest.mark.parametrize("kind", ["l2", "kl"])
@few_examples
@given(s=st.sampled_from([-60.0, 0.0, 60.0]), t=st.sampled_from([-60.0, 0.0, 60.0]), gate=st.floats(0, 1))
def test_finite_at_extreme_logits(kind: str, s: float, t: float, gate: float) -> None:
    student = torch.tensor([1.0, 2.0, 3.0, 4.0, s, -s]).reshape(1, 6, 1).requires_grad_()
    teacher = torch.tensor([1.0, 2.0, 3.0, 9.0, t, -t]).reshape(1, 6, 1)
    value = build_loss("obj_gated", kind=kind)(student, teacher, gate_na=torch.tensor([[gate]]))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_errors() -> None:
    student, teacher = random(2, 7, 5, seed=1), random(2, 7, 5, seed=2)
    assert_rejects("obj_gated", "tau", [0, -1.0, *NOT_NUMBERS], kind="kl")
    assert_rejects("obj_gated", "box_weight", [-0.5, *NOT_NUMBERS])
    for kind in ("l1", "KL", None, 2, ["l2"]):
        with pytest.raises(ConfigError) as error:
            build_loss("obj_gated", kind=kind)
        assert str(error.value) == f"loss 'obj_gated': kind is {kind!r}, expected l2 or kl, for example kind=l2."
    with pytest.raises(ConfigError, match=r"tau is 2\.0, but the squared error of kind=l2 has no temperature"):
        build_loss("obj_gated", tau=2.0)
    for context in ({}, {"gate_na": None}):
        with pytest.raises(ConfigError, match=r"cannot do without gate_na: call it as .*gate_na=\.\.\."):
            build_loss("obj_gated")(student, teacher, **context)
    with pytest.raises(ConfigError, match=r"gate_na has shape \(2, 7, 5\), expected \(2, 5\): one weight for every"):
        build_loss("obj_gated")(student, teacher, gate_na=torch.ones(2, 7, 5))
    with pytest.raises(ConfigError, match=r"the predictions have 1 class: .* Use kind=l2, or --loss bkd"):
        build_loss("obj_gated", kind="kl")(student[:, :5], teacher[:, :5], gate_na=torch.ones(2, 5))
    with pytest.raises(ConfigError, match=r"have 4 channels, expected 5 or more: 4 box distances"):
        build_loss("obj_gated")(student[:, :4], teacher[:, :4], gate_na=torch.ones(2, 5))
