"""score_l2: squared difference weighted by the teacher's confidence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import build_loss

from .properties import FeatureContract, few_examples, random, uniform

TERM: dict[str, object] = {"weight": 6.0, "adapter": "mlp"}
PARAMETERS: dict[str, object] = {}


def naive(student: Tensor, teacher: Tensor, scores: Tensor) -> float:
    n, c, h, w = student.shape
    total = 0.0
    for image in range(n):
        for channel in range(c):
            for y in range(h):
                for x in range(w):
                    error = student[image, channel, y, x].item() - teacher[image, channel, y, x].item()
                    total += error**2 * scores[image, 0, y, x].item()
    return total / (c * sum(scores.reshape(-1).tolist()) + 1e-9)


class TestContract(FeatureContract):
    loss = "score_l2"

    def context(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        return {"scores_n1hw": uniform(shape[0], 1, *shape[2:], seed=3)}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 1), (3, 1, 5, 2)])
@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_formula(shape: tuple[int, ...], scale: float) -> None:
    """The small scale is where the epsilon shows."""
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    scores = scale * uniform(shape[0], 1, *shape[2:], seed=3)
    value = build_loss("score_l2")(student, teacher, scores_n1hw=scores).item()
    assert value == pytest.approx(naive(student, teacher, scores), rel=1e-9)


def test_equal_scores_are_the_plain_mean() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    value = build_loss("score_l2")(student, teacher, scores_n1hw=torch.full((2, 1, 4, 5), 0.7)).item()
    assert value == pytest.approx((student - teacher).square().mean().item(), rel=1e-8)


def test_one_hot_scores_choose_one_position() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    scores = torch.zeros(2, 1, 4, 5)
    scores[1, 0, 2, 3] = 1
    value = build_loss("score_l2")(student, teacher, scores_n1hw=scores).item()
    assert value == pytest.approx((student - teacher)[1, :, 2, 3].square().mean().item(), rel=1e-8)


@few_examples
@given(scale=st.floats(0.01, 1))
def test_scale_of_the_scores_does_not_matter(scale: float) -> None:
    student, teacher, scores = random(2, 3, 2, 3, seed=1), random(2, 3, 2, 3, seed=2), uniform(2, 1, 2, 3)
    loss = build_loss("score_l2")
    expected = loss(student, teacher, scores_n1hw=scores).item()
    assert loss(student, teacher, scores_n1hw=scale * scores).item() == pytest.approx(expected, rel=1e-6)


def test_no_scores_at_all_give_zero() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1).float(), random(2, 3, 4, 5, seed=2).float()
    value = build_loss("score_l2")(student.requires_grad_(), teacher, scores_n1hw=torch.zeros(2, 1, 4, 5))
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_half_scores_do_not_change_the_precision() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1).float(), random(2, 3, 4, 5, seed=2).float()
    scores = uniform(2, 1, 4, 5).half()
    value = build_loss("score_l2")(student, teacher, scores_n1hw=scores)
    assert value.dtype == torch.float32
    assert torch.equal(value, build_loss("score_l2")(student, teacher, scores_n1hw=scores.double()))


def test_errors() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    loss = build_loss("score_l2")
    for context in ({}, {"scores_n1hw": None}):
        with pytest.raises(ConfigError, match=r"cannot do without scores_n1hw: call it as .*scores_n1hw=\.\.\."):
            loss(student, teacher, **context)
    for shape in ((2, 4, 5), (2, 3, 4, 5), (2, 1, 5, 4), (1, 1, 4, 5)):
        with pytest.raises(ConfigError, match=r"scores_n1hw has shape .*, expected \(2, 1, 4, 5\)"):
            loss(student, teacher, scores_n1hw=torch.ones(shape))
    with pytest.raises(ConfigError, match=r"loss 'score_l2' has no parameter 'tau'. It takes: none."):
        build_loss("score_l2", tau=1.0)
