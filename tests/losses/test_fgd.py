"""fgd: objects and background apart under the teacher's attention, attentions, and relations over the map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss
from kd_yolo.losses.fgd import channel_attention, spatial_attention

from .fgd_naive import BOXES, IMAGE_HW, SHAPE, WEIGHTS, build, context, naive, shake
from .properties import NOT_NUMBERS, FeatureContract, assert_rejects, few_examples, random

TERM: dict[str, object] = {"weight": 1.0, "share": 0.1}
PARAMETERS: dict[str, object] = {"alpha": 1e-3, "beta": 5e-4, "gamma": 1e-3, "lambda_": 5e-6, "tau": 0.5, "seed": 0}


class TestContract(FeatureContract):
    loss = "fgd"
    shape = SHAPE

    def build(self) -> DistillationLoss:
        return build(**WEIGHTS)

    def context(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return context((BOXES * 2)[: shape[0]])


@pytest.mark.parametrize("boxes", [BOXES, [[], []], [[[0.0, 0.0, 40.0, 32.0]], [[8.0, 8.0, 8.0, 8.0]]]])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_formula(boxes: list[Any], tau: float) -> None:
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    loss = shake(build(tau=tau, **WEIGHTS))
    expected = naive(loss, student, teacher, boxes, WEIGHTS, tau)
    assert loss(student, teacher, **context(boxes)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("only", list(WEIGHTS))
def test_each_part_alone_is_its_formula(only: str) -> None:
    student, teacher = random(2, 6, 4, 5, seed=1), random(2, 6, 4, 5, seed=2)
    weights = {name: value if name == only else 0 for name, value in WEIGHTS.items()}
    loss = shake(build(6, **weights))
    expected = naive(loss, student, teacher, BOXES, weights, 0.5)
    assert expected > 0
    assert loss(student, teacher, **context()).item() == pytest.approx(expected, rel=1e-9)


def test_defaults_are_the_papers() -> None:
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    weights = {"alpha": 1e-3, "beta": 5e-4, "gamma": 1e-3, "lambda_": 5e-6}
    loss = shake(build())
    expected = naive(loss, student, teacher, BOXES, weights, 0.5)
    assert loss(student, teacher, **context()).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("channels", [1, 2])
def test_one_and_two_channels_are_defined(channels: int) -> None:
    student, teacher = random(2, channels, 4, 5, seed=1), random(2, channels, 4, 5, seed=2)
    loss = shake(build(channels, **WEIGHTS))
    value = loss(student, teacher, **context()).item()
    assert value == pytest.approx(naive(loss, student, teacher, BOXES, WEIGHTS, 0.5), rel=1e-9)


def test_attentions_add_up_and_rise_with_the_temperature() -> None:
    x = random(2, 3, 4, 5)
    assert spatial_attention(x, tau=0.5).sum((2, 3)).tolist() == [[pytest.approx(20)]] * 2
    assert channel_attention(x, tau=0.5).sum(1).flatten().tolist() == pytest.approx([3, 3])
    assert spatial_attention(-x, tau=0.1).max() > spatial_attention(x, tau=0.5).max()
    assert torch.allclose(spatial_attention(x, tau=1e6), torch.ones(2, 1, 4, 5, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(channel_attention(x, tau=1e6), torch.ones(2, 3, 1, 1, dtype=torch.float64), atol=1e-5)


def test_images_without_boxes_count_as_background() -> None:
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    for only in ("beta", "gamma", "lambda_"):
        student.requires_grad_().grad = None
        loss = build(**{name: float(name == only) for name in WEIGHTS})
        value = loss(student, teacher, **context([[], []]))
        value.backward()
        assert value > 0
        assert student.grad is not None
        assert (student.grad[0].abs().sum() > 0) & (student.grad[1].abs().sum() > 0)
    objects = build(alpha=1, beta=0, gamma=0, lambda_=0)
    assert objects(student, teacher, **context([[], []])).item() == 0


def test_objects_outside_the_boxes_do_not_matter_for_alpha() -> None:
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    loss = build(alpha=1, beta=0, gamma=0, lambda_=0)
    expected = loss(student, teacher, **context([[[8.0, 8.0, 15.0, 15.0]], []])).item()
    other = torch.full(SHAPE, 99.0, dtype=torch.float64)
    other[0, :, 1:3, 1:3] = student[0, :, 1:3, 1:3]
    assert loss(other, teacher, **context([[[8.0, 8.0, 15.0, 15.0]], []])).item() == pytest.approx(expected, rel=1e-12)
    assert expected > 0


@few_examples
@given(stride=st.integers(1, 64))
def test_only_boxes_relative_to_the_image_matter(stride: int) -> None:
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    loss = build(**WEIGHTS)
    expected = loss(student, teacher, **context()).item()
    scaled = [[[x * stride for x in b] for b in image] for image in BOXES]
    other = context(scaled, (IMAGE_HW[0] * stride, IMAGE_HW[1] * stride))
    assert loss(student, teacher, **other).item() == pytest.approx(expected, rel=1e-12)


def test_extreme_maps_stay_finite() -> None:
    student, teacher = random(*SHAPE, seed=1).float() * 1e4, random(*SHAPE, seed=2).float() * 1e4
    value = build()(student.requires_grad_(), teacher, **context())
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_boxes_of_any_dtype_and_a_tensor_as_image_size() -> None:
    student, teacher = random(*SHAPE, seed=1).float(), random(*SHAPE, seed=2).float()
    given = context()
    value = build()(student, teacher, **given)
    for dtype in (torch.float16, torch.float32, torch.int64):
        boxes = tuple(x.to(dtype) for x in given["boxes_xyxy"])
        other = build()(student, teacher, boxes_xyxy=boxes, image_hw=torch.tensor(IMAGE_HW))
        assert other.dtype == torch.float32
        assert torch.equal(value, other)


def test_parameter_errors() -> None:
    for name in WEIGHTS:
        assert_rejects("fgd", name, [-1e-5, *NOT_NUMBERS], channels=3)
    assert_rejects("fgd", "tau", [0, -1.0, *NOT_NUMBERS], channels=3)
    assert_rejects("fgd", "channels", [0, -1, 2.0, *NOT_NUMBERS])
    assert_rejects("fgd", "seed", [-1, 2**63, 0.5, *NOT_NUMBERS], channels=3)
    with pytest.raises(ConfigError, match="alpha, beta, gamma and lambda_ are all 0, and so would be the loss"):
        build(alpha=0, beta=0, gamma=0, lambda_=0)
    with pytest.raises(ConfigError, match=r"needs the parameter\(s\) channels"):
        build_loss("fgd")
    with pytest.raises(ConfigError, match=r"built with channels=4, the maps have 3: build it with channels=3"):
        build(4)(random(*SHAPE), random(*SHAPE), **context())


def test_context_errors() -> None:
    student, teacher, given = random(*SHAPE, seed=1), random(*SHAPE, seed=2), context()
    for name in ("boxes_xyxy", "image_hw"):
        with pytest.raises(ConfigError, match=f"loss 'fgd' cannot do without {name}: call it as"):
            build()(student, teacher, **{**given, name: None})
    for wrong in (
        given["boxes_xyxy"][:1],
        [torch.zeros(0, 4), [1.0]],
        [torch.zeros(4), torch.zeros(0, 4)],
        torch.zeros(2, 4),
    ):
        with pytest.raises(
            ConfigError, match=r"boxes_xyxy is .*, expected a list of 2 tensors \(M,4\), one for each image"
        ):
            build()(student, teacher, boxes_xyxy=wrong, image_hw=IMAGE_HW)
    for wrong in ((32,), 32, (32, 0), (32, -1), ("32", 40), (32, float("nan")), torch.tensor(3)):
        with pytest.raises(ConfigError, match=r"image_hw is .*, expected height and width of the input in pixels"):
            build()(student, teacher, boxes_xyxy=given["boxes_xyxy"], image_hw=wrong)
    for wrong in (
        [9.0, 1.0, 3.0, 5.0],
        [1.0, 9.0, 3.0, 5.0],
        [0.0, 0.0, float("nan"), 1.0],
        [0.0, 0.0, float("inf"), 1.0],
    ):
        with pytest.raises(ConfigError, match=r"not finite or the wrong way round.*Are these centres and sizes\?"):
            build()(student, teacher, **context([[wrong], []]))
