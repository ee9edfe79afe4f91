"""Which gammas sparse training works on, and which of them belong to one channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.yolo.heads import input_channels


@dataclass(frozen=True)
class GammaRange:
    """Gammas of one BatchNorm layer.

    Attributes:
        norm: the layer's name.
        start: the first.
        stop: one past the last.
    """

    norm: str
    start: int
    stop: int

    def of(self, model: nn.Module) -> Tensor:
        """These gammas of a model, without gradient; writing to them writes to the model."""
        layer: Any = model.get_submodule(self.norm)
        gammas: Tensor = layer.weight.detach()[self.start : self.stop]
        return gammas


GammaGroup = tuple[GammaRange, ...]


def find_gammas(model: nn.Module, norms: Sequence[str] | None) -> tuple[GammaGroup, ...]:
    """The gammas of channels that go together, group by group.

    Args:
        model: a YOLO task model, not fused; it is not touched.
        norms: BatchNorm layers, each a group by itself; None is every group of channels that pruning can cut.

    Raises:
        ConfigError: a name that is no BatchNorm layer's, or nothing left that trains.
        InputError: the model cannot be pruned.
    """
    found = _groups_of_channels(model) if norms is None else [(_whole(model, name),) for name in norms]
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    groups = tuple(group for group in found if group and all(f"{part.norm}.weight" in trained for part in group))
    if not groups:
        raise ConfigError(
            "sparse training has no BatchNorm layer to work on: set freeze= lower, or name others in norms."
        )
    return groups


def _whole(model: nn.Module, name: str) -> GammaRange:
    known = [key for key, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    if name not in known:
        raise ConfigError(f"norms: the model has no BatchNorm layer '{name}'.{nearest(name, known)}")
    return GammaRange(name, 0, int(model.get_submodule(name).num_features))  # type: ignore[arg-type]


def _groups_of_channels(model: Any) -> list[GammaGroup]:
    copied = deepcopy(model).cpu().float().eval().requires_grad_(True)
    side_px = 2 * max(int(model.stride.max()), 32)
    with ChannelGraph(copied, torch.zeros(1, input_channels(copied), side_px, side_px)) as graph:
        return [tuple(_ranges(copied, group.layers, group.width)) for group in graph.groups]


def _ranges(model: nn.Module, convs: Sequence[str], width: int) -> Iterator[GammaRange]:
    """The gammas behind a group's convs; one of another width (GhostConv's partner) or without BatchNorm has none."""
    layers = dict(model.named_modules())
    for conv in convs:
        name, _, half = conv.partition("[")  # "model.2.cv1.conv[b]" is the second half of a splitting conv
        norm = f"{name.rpartition('.')[0]}.bn"
        layer: Any = layers.get(norm)
        halves = 2 if half else 1
        if isinstance(layer, nn.BatchNorm2d) and layer.num_features == halves * width:
            start = width if half == "b]" else 0
            yield GammaRange(norm, start, start + width)
