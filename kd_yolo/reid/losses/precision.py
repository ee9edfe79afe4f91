"""The precision of the losses: float32 at least, whatever autocast and the inputs say."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

from kd_yolo.losses.base import at_least_float32

P = ParamSpec("P")


def in_full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Runs a loss outside autocast, with every floating tensor among its arguments in float32 at least."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        first = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        with torch.autocast(first.device.type, enabled=False):
            return function(*map(_widened, args), **{key: _widened(x) for key, x in kwargs.items()})  # type: ignore[arg-type]

    return run


def _widened(x: object) -> object:
    return at_least_float32(x) if isinstance(x, Tensor) and x.is_floating_point() else x
