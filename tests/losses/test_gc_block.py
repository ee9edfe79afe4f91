"""The global context blocks of fgd: initialisation, training, precision. Their formula is in test_fgd.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from .fgd_naive import SHAPE, WEIGHTS, build, context, shake
from .properties import random


def test_blocks_start_as_the_identity_and_as_the_authors_do() -> None:
    loss = build(64)
    x = random(2, 64, 4, 5).float()
    assert torch.equal(loss.student_block(x), x)
    assert torch.equal(loss.teacher_block(x), x)
    for block in (loss.student_block, loss.teacher_block):
        assert [m.weight.shape[:2] for m in block.say if isinstance(m, nn.Conv2d)] == [(32, 64), (64, 32)]
        assert block.say[1].normalized_shape == (32, 1, 1)
        # Kaiming normal, fan in: deviation sqrt(2 / 64); five standard deviations of an estimate from 64 numbers.
        assert block.look.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=5 / 128**0.5)
        assert block.look.bias.item() == 0
        assert block.say[0].weight.abs().sum() > 0
        assert block.say[3].weight.abs().sum() == block.say[3].bias.abs().sum() == 0


def test_blocks_depend_on_the_seed_only() -> None:
    state = torch.get_rng_state()
    one, two, other = build(seed=3), build(seed=3), build(seed=4)
    torch.rand(3)
    assert torch.equal(one.student_block.look.weight, two.student_block.look.weight)
    assert not torch.equal(one.student_block.look.weight, other.student_block.look.weight)
    assert not torch.equal(one.student_block.look.weight, one.teacher_block.look.weight)
    torch.set_rng_state(state)


def test_both_blocks_are_trained() -> None:
    loss = shake(build(8, **WEIGHTS)).float()
    loss(random(2, 8, 4, 5, seed=1), random(2, 8, 4, 5, seed=2), **context()).backward()
    for name, weight in loss.named_parameters():
        assert weight.grad is not None
        assert weight.grad.dtype == torch.float32
        assert weight.grad.isfinite().all()
        if not name.endswith("look.bias"):  # the softmax over positions does not see it
            assert weight.grad.abs().sum() > 1e-6


def test_halved_blocks_compute_in_float32() -> None:
    student, teacher = random(*SHAPE, seed=1).float(), random(*SHAPE, seed=2).float()
    value = shake(build(**WEIGHTS)).half()(student, teacher, **context())
    assert value.dtype == torch.float32
    assert torch.equal(value, shake(build(**WEIGHTS)).half().float()(student, teacher, **context()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_does_not_touch_the_blocks(dtype: torch.dtype) -> None:
    """With blocks that do something: those of the start hide what their convolutions compute."""
    student, teacher = random(*SHAPE, seed=1).to(dtype), random(*SHAPE, seed=2).to(dtype)
    expected = shake(build(**WEIGHTS))(student.float(), teacher.float(), **context())
    with torch.autocast("cpu", torch.bfloat16):
        value = shake(build(**WEIGHTS))(student, teacher, **context())
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
