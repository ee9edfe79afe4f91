"""Numbers and checks that the tests of the ReID losses share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError

NOT_NUMBERS: list[object] = ["1", True, float("nan"), float("inf")]


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normal float64 numbers from a generator of their own."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_precise(loss: Callable[..., Tensor], *tensors: Tensor) -> None:
    """Half inputs, with and without autocast, give the float32 result; autocast does not touch float32."""
    for dtype in (torch.float16, torch.bfloat16):
        halves = [x.to(dtype) for x in tensors]
        expected = loss(*(x.float() for x in halves))
        assert expected.dtype == torch.float32
        for inputs in (halves, [x.float() for x in halves]):
            for autocast in (False, True):
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    value = loss(*inputs)
                assert value.dtype == torch.float32
                assert torch.equal(value, expected)


def assert_student_only(loss: Callable[..., Tensor], student: Tensor, *teachers: Tensor) -> None:
    """The gradient is that of the number returned, reaches the student, and the teacher never."""
    student, *teachers = (x.clone().requires_grad_() for x in (student, *teachers))
    loss(student, *teachers).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0
    assert all(x.grad is None for x in teachers)
    fixed = [x.detach() for x in teachers]
    assert torch.autograd.gradcheck(lambda x: loss(x, *fixed), student.detach().requires_grad_(), fast_mode=True)


def assert_batch_mean(loss: Callable[..., Tensor], *tensors: Tensor) -> None:
    """Twice the same batch gives the same number, in any order."""
    once = loss(*tensors).item()
    rows = list(range(len(tensors[0])))
    for order in (rows + rows, rows[::-1]):
        assert loss(*(x[order] for x in tensors)).item() == pytest.approx(once, rel=1e-9)


def assert_rejects(build: Callable[..., object], parameter: str, values: list[object]) -> None:
    """Each value is a ConfigError that shows it and gives an example."""
    for value in values:
        with pytest.raises(ConfigError, match=f"{parameter} is .*, expected .*, for example {parameter}=") as error:
            build(**{parameter: value})
        assert repr(value) in str(error.value)
