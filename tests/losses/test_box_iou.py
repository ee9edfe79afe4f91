"""box_iou: 1 - GIoU between the decoded boxes of student and teacher."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import build_loss
from kd_yolo.losses.box_iou import giou

from .properties import ResponseContract, few_examples, random, uniform

TERM: dict[str, object] = {"weight": 3.0}
PARAMETERS: dict[str, object] = {}


def boxes(n: int, a: int, seed: int, scale: float = 1.0) -> Tensor:
    """Boxes (N,4,A) with sides between 0.5 and 2.5; most overlap, some lie apart."""
    low = random(n, 2, a, seed=seed)
    return scale * torch.cat([low, low + 0.5 + 2 * uniform(n, 2, a, seed=seed + 50)], 1)


def naive_pair(s: list[float], t: list[float]) -> float:
    """1 - GIoU of two boxes with an area, step by step as the paper's algorithm 1."""
    area_s, area_t = (s[2] - s[0]) * (s[3] - s[1]), (t[2] - t[0]) * (t[3] - t[1])
    wide, high = min(s[2], t[2]) - max(s[0], t[0]), min(s[3], t[3]) - max(s[1], t[1])
    shared = wide * high if wide > 0 and high > 0 else 0.0
    union = area_s + area_t - shared
    hull = (max(s[2], t[2]) - min(s[0], t[0])) * (max(s[3], t[3]) - min(s[1], t[1]))
    return 1 - (shared / union - (hull - union) / hull)


def naive(student: Tensor, teacher: Tensor) -> list[list[float]]:
    n, _, a = student.shape
    return [
        [naive_pair(student[image, :, anchor].tolist(), teacher[image, :, anchor].tolist()) for anchor in range(a)]
        for image in range(n)
    ]


def pair_loss(s: list[float], t: list[float]) -> tuple[float, list[float]]:
    """Loss and student gradient of one pair, in float32."""
    student = torch.tensor(s).reshape(1, 4, 1).requires_grad_()
    value = build_loss("box_iou")(student, torch.tensor(t).reshape(1, 4, 1))
    value.backward()
    assert student.grad is not None
    return value.item(), student.grad.reshape(4).tolist()


class TestContract(ResponseContract):
    loss = "box_iou"
    shape = (2, 4, 7)
    reads = "boxes"
    gate = "weight_na"
    shape_help = r"boxes need equal anchor points: compare the levels that both heads have"
    mismatch = ((2, 4, 7), (2, 4, 9))
    naive_na = staticmethod(naive)

    def pair(self, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        return boxes(2, 7, seed=1, scale=scale), boxes(2, 7, seed=2, scale=scale)


@pytest.mark.parametrize("scale", [0.01, 1.0, 640.0])
@pytest.mark.parametrize(("n", "a"), [(2, 7), (1, 1), (3, 20)])
def test_formula(scale: float, n: int, a: int) -> None:
    student, teacher = boxes(n, a, seed=1, scale=scale), boxes(n, a, seed=2, scale=scale)
    expected = sum(map(sum, naive(student, teacher))) / (n * a)
    assert build_loss("box_iou")(student, teacher).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ([0.0, 0.0, 2.0, 2.0], 0.0),
        ([0.0, 0.0, 2.0, 1.0], 0.5),  # half of it, no empty hull
        ([1.0, 0.0, 3.0, 2.0], 1 - 1 / 3),
        ([2.0, 0.0, 4.0, 2.0], 1.0),  # side by side: GIoU 0
        ([0.0, 4.0, 2.0, 6.0], 1 + 1 / 3),  # apart: a third of the hull is empty
        ([1e5, 1e5, 1e5 + 2, 1e5 + 2], 2.0),
    ],
)
def test_known_pairs(student: list[float], expected: float) -> None:
    value, gradient = pair_loss(student, [0.0, 0.0, 2.0, 2.0])
    assert value == pytest.approx(expected, abs=1e-6)
    assert value == 0 or max(map(abs, gradient)) > 0


def test_equal_boxes_have_no_gradient() -> None:
    value, gradient = pair_loss([3.0, 5.0, 9.0, 6.0], [3.0, 5.0, 9.0, 6.0])
    assert value == 0
    assert gradient == pytest.approx([0, 0, 0, 0], abs=1e-7)


@few_examples
@given(scale=st.floats(0.01, 1000), x=st.floats(-100, 100), y=st.floats(-100, 100))
def test_unit_and_position_do_not_matter(scale: float, x: float, y: float) -> None:
    student, teacher = boxes(2, 7, seed=1), boxes(2, 7, seed=2)
    move = torch.tensor([x, y, x, y], dtype=torch.float64).reshape(1, 4, 1)
    loss = build_loss("box_iou")
    expected = loss(student, teacher).item()
    assert loss(scale * (student + move), scale * (teacher + move)).item() == pytest.approx(expected, rel=1e-9)


def test_is_symmetric_and_between_0_and_2() -> None:
    student, teacher = boxes(3, 50, seed=1), boxes(3, 50, seed=2)
    loss_na = 1 - giou(student, teacher)
    assert torch.allclose(loss_na, 1 - giou(teacher, student), rtol=1e-12)
    assert loss_na.min() > 0
    assert loss_na.max() < 2


@pytest.mark.parametrize(
    "teacher", [[0.0, 0.0, 8.0, 8.0], [4.0, 4.0, 4.0, 4.0], [0.0, 4.0, 8.0, 4.0], [6.0, 6.0, 2.0, 2.0]]
)
@pytest.mark.parametrize(
    "student",
    [
        [4.0, 4.0, 4.0, 4.0],  # a point
        [4.0, 0.0, 4.0, 8.0],  # a line
        [6.0, 6.0, 2.0, 2.0],  # both axes swapped
        [6.0, 2.0, 2.0, 6.0],  # one axis swapped
        [20.0, 20.0, 12.0, 12.0],  # swapped and elsewhere
        [4.0, 4.0, 4.0 + 4e-7, 4.0 + 4e-7],
        [60.0, 60.0, -60.0, -60.0],
    ],
)  # fmt: skip
def test_degenerate_boxes_are_finite(student: list[float], teacher: list[float]) -> None:
    value, gradient = pair_loss(student, teacher)
    assert 0 <= value <= 2
    assert max(map(abs, gradient)) < 1e6
    if student == teacher:
        assert value == 0
    elif teacher == [0.0, 0.0, 8.0, 8.0]:
        assert value >= 1 - 1e-6


coordinate = st.one_of(st.sampled_from([-60.0, 0.0, 1e-20, 1.0, 1.0 + 1e-7, 60.0]), st.floats(-60, 60, width=32))


@few_examples
@given(s=st.lists(coordinate, min_size=4, max_size=4), t=st.lists(coordinate, min_size=4, max_size=4))
def test_any_corners_are_finite(s: list[float], t: list[float]) -> None:
    value, gradient = pair_loss(s, t)
    assert -1e-6 <= value <= 2 + 1e-6
    assert all(torch.tensor(gradient).isfinite())
    assert pair_loss(s, s)[0] == 0


def test_tiny_boxes_near_the_origin_are_finite() -> None:
    """Their area is not a float32 whose square could be divided by."""
    value, gradient = pair_loss([0.0, 0.0, 1e-20, 1e-20], [0.0, 0.0, 2e-20, 2e-20])
    assert value == 0
    assert torch.tensor(gradient).isfinite().all()


def test_swapped_corners_are_not_swapped_back() -> None:
    """The mirrored teacher box is no answer: it costs as much as no box at all."""
    value, _ = pair_loss([8.0, 8.0, 0.0, 0.0], [0.0, 0.0, 8.0, 8.0])
    assert value == 1


def test_descent_reaches_the_teachers_boxes() -> None:
    """From boxes that lie apart as well, where a plain IoU has no gradient."""
    student, teacher = boxes(1, 8, seed=1), boxes(1, 8, seed=2)
    student[0, :, 0] += 5
    loss = build_loss("box_iou")
    assert loss(student, teacher).item() > 0.7
    optimizer = torch.optim.Adam([student.requires_grad_()], lr=0.03)
    for _ in range(700):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert loss(student, teacher).item() < 0.1


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"have 64 channels, expected 4: x0, y0, x1, y1\. Decode .*--loss dfl_kl"):
        build_loss("box_iou")(random(2, 64, 7), random(2, 64, 7))
    with pytest.raises(ConfigError, match=r"loss 'box_iou' has no parameter 'tau'. It takes: none."):
        build_loss("box_iou", tau=1.0)
    with pytest.raises(ConfigError, match=r"does not use gate_na; it takes: weight_na"):
        build_loss("box_iou")(boxes(2, 7, seed=1), boxes(2, 7, seed=2), gate_na=torch.ones(2, 7))
