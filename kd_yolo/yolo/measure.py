"""What a model costs: layers, parameters, GFLOPs, and the time of a forward pass."""

from __future__ import annotations

import copy
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils.torch_utils import get_flops

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.yolo.families import is_end2end
from kd_yolo.yolo.heads import input_channels
from kd_yolo.yolo.onnx_session import onnx_runner

__all__ = ["Latency", "Size", "deployed_copy", "measure_latency", "measure_size", "onnx_runner", "torch_runner"]


@dataclass(frozen=True)
class Size:
    """The cost of one image, counted.

    Attributes:
        layers: modules without children, as ultralytics counts them.
        parameters: of the model as it is, both branches of an end-to-end head (v10, 26) included.
        gflops: of the model as it is: twice the multiply-adds, / 1e9.
        deployed_parameters: after fusing, and without the one-to-many branch of an end-to-end head.
        deployed_gflops: of that form.
    """

    layers: int
    parameters: int
    gflops: float
    deployed_parameters: int
    deployed_gflops: float


@dataclass(frozen=True)
class Latency:
    """Wall time of one image: the median and the 90th percentile over the rounds, in milliseconds."""

    p50_ms: float
    p90_ms: float


def measure_size(model: nn.Module, imgsz: int) -> Size:
    """Counts a model; the model is not touched.

    Args:
        model: a YOLO task model, fused or not.
        imgsz: longer side in pixels; rounded up to whole strides, as ultralytics does everywhere.

    Raises:
        KDYoloError: the forward pass fails, so that FLOPs cannot be counted.
    """
    plain = copy.deepcopy(model)
    layers = sum(not list(layer.children()) for layer in plain.modules())
    parameters, gflops = _count(plain, imgsz)
    return Size(layers, parameters, gflops, *_count(deployed_copy(model), imgsz))


def _count(model: nn.Module, imgsz: int) -> tuple[int, float]:
    image = _image(model, imgsz)
    gflops = float(get_flops(model, image.shape[-1]))
    if not gflops:  # ultralytics hides the reason of a failure: the same pass shows it
        try:
            model.eval()(image)
        except (RuntimeError, ValueError, IndexError) as error:
            raise KDYoloError(f"FLOPs cannot be counted at {imgsz} px, the forward pass fails: {error}") from error
        raise KDYoloError("FLOPs cannot be counted: reinstall ultralytics' counter, pip install -U ultralytics-thop")
    return sum(parameter.numel() for parameter in model.parameters()), gflops


def deployed_copy(model: nn.Module) -> Any:
    """A copy for inference: float32, eval mode, fused; an end-to-end head keeps its one-to-one branch only."""
    fused: Any = copy.deepcopy(model).float().eval().requires_grad_(False)
    head = fused.model[-1]
    if is_end2end(head):
        head.end2end = True  # which branch fuse() drops follows this, and what it is after loading is the version's
    return fused.fuse(verbose=False)


def torch_runner(model: nn.Module, imgsz: int) -> Callable[[], None]:
    """A function that runs one image through a fused copy on the CPU, in eager mode, without post-processing.

    Args:
        model: a YOLO task model; it is not touched.
        imgsz: longer side in pixels; rounded up to whole strides.
    """
    fused = deployed_copy(model).cpu()
    image = _image(fused, imgsz)

    def run() -> None:
        with torch.no_grad():
            fused(image)

    return run


def measure_latency(
    runners: Mapping[str, Callable[[], None]], *, rounds: int = 50, warmup: int = 5, threads: int = 1
) -> dict[str, Latency]:
    """Times functions that take turns, so that noise of the machine hits all alike.

    Args:
        runners: what to time, by name; a round runs each once, in another order each round.
        rounds: rounds that count.
        warmup: rounds before them that do not.
        threads: threads of torch meanwhile; an ONNX Runtime session has its own, see :func:`onnx_runner`.

    Raises:
        ConfigError: fewer than one round or thread, or a negative warm-up.
    """
    for name, value, least in (("rounds", rounds, 1), ("warmup", warmup, 0), ("threads", threads, 1)):
        if value < least:
            raise ConfigError(f"{name} is {value}, expected {least} or more.")
    times_ms: dict[str, list[float]] = {name: [] for name in runners}
    order, shuffle = list(runners), random.Random(0).shuffle
    with _torch_threads(threads):
        for turn in range(warmup + rounds):
            shuffle(order)
            for name in order:
                start = time.perf_counter()
                runners[name]()
                if turn >= warmup:
                    times_ms[name].append((time.perf_counter() - start) * 1e3)
    return {name: Latency(statistics.median(times), _p90(times)) for name, times in times_ms.items()}


def _p90(times_ms: list[float]) -> float:
    """The smallest time that at least nine tenths of all do not exceed."""
    return sorted(times_ms)[math.ceil(0.9 * len(times_ms)) - 1]


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _image(model: nn.Module, imgsz: int) -> Tensor:
    """Noise (1,C,S,S) in 0..1; not zeros, whose sums could come out as slow denormal numbers."""
    facts: Any = model
    stride = max(int(facts.stride.max()), 32)
    size_px = math.ceil(imgsz / stride) * stride
    parameter = next(model.parameters())
    image = torch.rand(1, input_channels(model), size_px, size_px, generator=torch.Generator().manual_seed(0))
    return image.to(parameter.device, parameter.dtype)
