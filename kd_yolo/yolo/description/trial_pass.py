"""One small image through a network, before anything else is done with it; ends before it takes memory or time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from kd_yolo.yolo.heads import DECODER_PX, is_decoder

MAX_ELEMENTS = 1 << 25  # of one map, 128 MB; yolov9e at 64 px has 0.4 million
MAX_CALLS = 50_000
MAX_SECONDS = 8.0  # of this thread's CPU: a process that was stopped, or waits for others, has not worked
IMAGE_PX = 64
_LOCK = threading.Lock()  # torch keeps one list of forward hooks for the process


class OverBudgetError(RuntimeError):
    """What is built or run is larger than any YOLO model."""


def trial_pass(model: Any, channels: int) -> list[Tensor]:
    """The outputs of a network for one image; the network is as it was before.

    Args:
        model: a YOLO task model in eval mode, on the CPU, in float32, checked by ``check_modules``.
        channels: of the image.

    Raises:
        OverBudgetError: the pass would take more memory or time than that of any YOLO model.
    """
    size_px = DECODER_PX if is_decoder(model) else max(IMAGE_PX, 2 * int(max(model.stride)))
    image = torch.full((1, channels, size_px, size_px), 0.5)
    states = [(module, dict(vars(module))) for module in model.modules()]  # heads keep the grid of the last image
    try:
        with watched(model), torch.no_grad():
            return list(_tensors(model(image)))
    finally:
        for module, state in states:
            vars(module).clear()
            vars(module).update(state)


def _tensors(value: Any, level: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) and level < 8:
        for inside in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inside, level + 1)


@contextmanager
def watched(model: nn.Module) -> Iterator[None]:
    """Inside, each call of a layer of this network is looked at before it is made.

    Raises:
        OverBudgetError: it would make a map larger than that of any YOLO model; or they are too many, or take too long.
    """
    own = {id(module) for module in model.modules()}
    start, calls = time.thread_time(), 0

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal calls
        if id(module) not in own:  # another thread's network
            return
        calls += 1
        if calls > MAX_CALLS:
            raise OverBudgetError(f"one image of {IMAGE_PX} px takes more than {MAX_CALLS} calls of layers")
        if time.thread_time() - start > MAX_SECONDS:
            raise OverBudgetError(f"one image of {IMAGE_PX} px takes more than {MAX_SECONDS:g} s")
        largest = max((value.numel() for value in _tensors(inputs)), default=0)
        if max(largest, _predicted(module, inputs)) > MAX_ELEMENTS:
            raise OverBudgetError(f"an image of {IMAGE_PX} px becomes more than {MAX_ELEMENTS} numbers in one layer")

    with _LOCK:
        handle = hooks.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        with _LOCK:
            handle.remove()


def _predicted(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """How many numbers a layer that can make more of them will give, at most; 0 for all others."""
    x = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
    if x is None or x.ndim < 2:
        return 0
    facts: Any = module
    sizes = [float(size) for size in x.shape[2:]]
    if isinstance(module, nn.Upsample):
        wanted, factors = facts.size, facts.scale_factor
        sizes = _each(wanted, len(sizes)) if wanted else [s * f for s, f in zip(sizes, _each(factors, len(sizes)))]  # noqa: B905
        return x.shape[0] * x.shape[1] * math.prod(sizes)
    if isinstance(module, nn.modules.conv._ConvNd):
        padding, strides = _numbers(facts.padding), _each(facts.stride, len(sizes))
        kernel = list(facts.weight.shape[2:])
        if facts.transposed:
            extra = _each(facts.output_padding, len(sizes))
            sizes = [s * f + k + e for s, f, k, e in zip(sizes, strides, kernel, extra)]  # noqa: B905
            return x.shape[0] * float(facts.weight.shape[1] * facts.groups) * math.prod(sizes)
        sizes = [(s + 2 * max(padding, default=0) + k) / max(f, 1) for s, f, k in zip(sizes, strides, kernel)]  # noqa: B905
        return x.shape[0] * float(facts.weight.shape[0]) * math.prod(sizes)
    if isinstance(module, nn.Linear):
        return x.numel() / max(x.shape[-1], 1) * float(facts.weight.shape[0])
    padding = _numbers(getattr(module, "padding", 0))  # of pools and of ZeroPad2d
    return x.shape[0] * x.shape[1] * math.prod(s + 2 * max(padding, default=0) for s in sizes) if sizes else 0


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list | tuple) else [value]
    return [abs(float(each)) for each in values if isinstance(each, int | float)]


def _each(value: Any, count: int) -> list[float]:
    numbers = _numbers(value)
    return numbers if len(numbers) == count else numbers[:1] * count
