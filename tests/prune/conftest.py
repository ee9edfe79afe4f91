"""Untrained networks whose signals are alive, and random choices of what to keep of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics import RTDETR, YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG

from kd_yolo.prune.graph import ChannelGraph
from tests.light import examined_once

Build = Callable[..., Any]
Keep = dict[str, list[int]]


@cache
def _built(name: str) -> Any:
    torch.manual_seed(0)
    model: Any = (RTDETR if "rtdetr" in name else YOLO)(f"{name}.yaml").model
    return enliven(model)


def enliven(model: Any) -> Any:
    """Signals of an untrained network fade away; these weights keep them, and no two BatchNorm channels are alike."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    model.args = DEFAULT_CFG  # what the losses read
    return model.eval()


@pytest.fixture(autouse=True, scope="module")
def _files_are_examined_once() -> Iterator[None]:
    with examined_once():
        yield


@pytest.fixture(scope="session")
def network() -> Build:
    """Networks by the name of their YAML file; every call gives a copy of its own, in eval mode."""

    def make(name: str = "yolov8n") -> Any:
        return deepcopy(_built(name))

    return make


@pytest.fixture(scope="session")
def small_detector() -> Build:
    """A few convs and a head, with layers of a YAML's form between them; the first of these is ``model.2``."""

    def make(*middle: list[Any]) -> Any:
        torch.manual_seed(0)
        layers = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [32, 3, 2]], *middle]
        layers += [[-1, 1, "Conv", [32, 3, 2]], [-1, 1, "Conv", [48, 3, 2]]]
        head = [[[len(layers) - 2, len(layers) - 1], 1, "Detect", ["nc"]]]
        return enliven(DetectionModel({"nc": 3, "backbone": layers, "head": head}, nc=3, verbose=False))

    return make


@pytest.fixture(scope="session")
def network_with(small_detector: Build) -> Callable[[nn.Module], Any]:
    """A small detector with a block of the test's own as ``model.2``, of 32 channels in and out."""

    def make(block: nn.Module) -> Any:
        model = small_detector([-1, 1, "nn.Identity", []])
        block.i, block.f, block.type, block.np = 2, -1, type(block).__name__, 0  # type: ignore[assignment]
        model.model[2] = block
        return model.eval()

    return make


def _image(model: Any, count: int = 1) -> Tensor:
    queries = getattr(model.model[-1], "num_queries", 0)  # RT-DETR needs a cell for each
    size_px = 160 if queries else max(64, 2 * int(model.stride.max()))
    dtype = next(model.parameters()).dtype
    return torch.rand(count, 3, size_px, size_px, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def image() -> Callable[..., Tensor]:
    """Noise just large enough for a model: ``image(model, count=1)``."""
    return _image


@pytest.fixture(scope="session")
def random_keep() -> Callable[..., Keep]:
    """Uneven random channels of every group; tied halves keep equally many, but not the same."""

    def choose(graph: ChannelGraph, seed: int = 0, least: float = 0.3) -> Keep:
        rng = random.Random(seed)
        keep: Keep = {}
        for group in sorted(graph.groups, key=lambda group: group.follows is not None):
            few = max(1, round(group.width * rng.uniform(least, 1)))
            count = len(keep[group.follows]) if group.follows else few
            keep[group.name] = sorted(rng.sample(range(group.width), count))
        return keep

    return choose


@pytest.fixture(scope="session")
def pruned(network: Build, random_keep: Callable[..., Keep]) -> Build:
    """A network in float64 and the same cut at random: ``(original, cut, graph, keep)``, shared: copy what changes."""

    @cache
    def make(name: str, *, seed: int = 0, least: float = 0.3) -> Any:
        original = network(name).double()
        less = deepcopy(original)
        with ChannelGraph(less, _image(less)) as graph:
            keep = random_keep(graph, seed, least)
            graph.cut(keep, proof=False)  # the tests prove it themselves
        return original, less, graph, keep

    return make
