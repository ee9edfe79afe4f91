"""l2: mean squared difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import build_loss

from .properties import FeatureContract, few_examples, random

TERM: dict[str, object] = {"weight": 5.0}
PARAMETERS: dict[str, object] = {}


class TestContract(FeatureContract):
    loss = "l2"


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 1), (3, 1, 5, 2)])
def test_formula(shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    values = list(zip(student.reshape(-1).tolist(), teacher.reshape(-1).tolist(), strict=True))
    expected = sum((s - t) ** 2 for s, t in values) / len(values)
    assert build_loss("l2")(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_a_constant_difference_is_its_square_whatever_the_size() -> None:
    for shape in ((1, 1, 1, 1), (2, 3, 4, 5)):
        student = random(*shape)
        assert build_loss("l2")(student + 3, student).item() == pytest.approx(9, rel=1e-9)


@few_examples
@given(scale=st.floats(-10, 10), offset=st.floats(-10, 10))
def test_common_offset_does_not_matter_and_scale_is_squared(scale: float, offset: float) -> None:
    student, teacher = random(2, 3, 2, 3, seed=1), random(2, 3, 2, 3, seed=2)
    loss = build_loss("l2")
    value = loss(scale * student + offset, scale * teacher + offset).item()
    assert value == pytest.approx(scale**2 * loss(student, teacher).item(), rel=1e-9, abs=1e-20)


def test_gradient_is_twice_the_difference_over_the_count() -> None:
    student, teacher = random(2, 3, 2, 3, seed=1).requires_grad_(), random(2, 3, 2, 3, seed=2)
    build_loss("l2")(student, teacher).backward()
    assert student.grad is not None
    assert (student.grad - 2 * (student - teacher) / 36).abs().max().item() < 1e-12


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"loss 'l2' has no parameter 'tau'. It takes: none."):
        build_loss("l2", tau=1.0)
