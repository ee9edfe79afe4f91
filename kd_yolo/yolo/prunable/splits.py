"""Convs whose output is split by channels: for tracing, each becomes one conv for each part.

The blocks themselves are not rewritten. Where they call ``self.cv1(x).chunk(2, 1)``, the parts answer, already apart.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import ELAN1, ADown, CBLinear, RepNCSPELAN4
from ultralytics.nn.modules.conv import Conv

from kd_yolo.yolo.families import halves

_BEFORE_ADOWN = frozenset({ELAN1, RepNCSPELAN4})


class Parts(tuple):  # type: ignore[type-arg]
    """The parts of a split output (N,C_i,H,W): when the block's forward splits them again, nothing happens."""

    def chunk(self, *_args: Any, **_kwargs: Any) -> Parts:
        return self

    split = chunk


class SplitConv(nn.Module):
    """Several convs side by side in place of one whose output is split.

    Args:
        conv: the conv, or ultralytics' Conv with BatchNorm.
        sizes: output channels of each part.
        joined: hand on the output in one piece, as before; :class:`ADown` then fetches the parts from ``latest``.
    """

    def __init__(self, conv: nn.Module, sizes: Sequence[int], *, joined: bool = False) -> None:
        super().__init__()
        bounds = [0, *accumulate(sizes)]
        self.offsets = bounds[:-1]
        self.parts = nn.ModuleList(_part(conv, slice(a, b)) for a, b in pairwise(bounds))
        self.joined = joined
        self.latest = Parts()

    def forward(self, x_nchw: Tensor) -> Parts | Tensor:
        self.latest = Parts(part(x_nchw) for part in self.parts)
        return torch.cat(self.latest, 1) if self.joined else self.latest


@dataclass(frozen=True)
class Split:
    """One split of a model.

    Attributes:
        conv: the conv's name, without ``.conv``.
        parts: what stands in its place.
        tied: the parts must keep equal widths, because the block halves its input wherever the middle is.
    """

    conv: str
    parts: SplitConv
    tied: bool


def split_convs(model: nn.Module) -> Iterator[Split]:
    """Replaces the splitting convs of ``model``, which must be a copy made for tracing."""
    for name, block in list(model.named_modules()):
        if halves(block):
            block.cv1 = SplitConv(block.cv1, _halves(block.cv1))
            yield Split(f"{name}.cv1", block.cv1, tied=True)
        elif type(block) is CBLinear and block.conv.groups == 1:
            block.conv = SplitConv(block.conv, block.c2s)
            yield Split(f"{name}.conv", block.conv, tied=False)
    yield from _split_before_adown(model)


def adown_source(model: Any, layer: nn.Module) -> Any | None:
    """The layer that alone feeds an ADown ``layer`` of ``model`` and ends in a conv that can be split, or None."""
    place: Any = layer
    if not isinstance(getattr(place, "f", None), int):  # one of several in a Sequential has no place of its own
        return None
    source = model.model[place.f + place.i if place.f < 0 else place.f]
    return source if type(source) in _BEFORE_ADOWN else None


def _split_before_adown(model: Any) -> Iterator[Split]:
    """ADown halves its input: the conv that makes this input keeps equally much of each half."""
    for layer in model.model:
        source = adown_source(model, layer) if type(layer) is ADown else None
        if source is not None and not isinstance(source.cv4, SplitConv):
            source.cv4 = SplitConv(source.cv4, _halves(source.cv4), joined=True)
            yield Split(f"model.{source.i}.cv4", source.cv4, tied=True)


def _halves(conv: Any) -> tuple[int, int]:
    half = conv.conv.out_channels // 2
    return half, half


def _part(conv: nn.Module, part: slice) -> nn.Module:
    """Some output channels of a conv (and its BatchNorm), sharing memory with it, gradients included."""
    tensors = [*conv.parameters(), *conv.buffers()]
    whole = copy.deepcopy(conv, {id(tensor): tensor for tensor in tensors})
    if isinstance(whole, Conv):
        _slice(whole.conv, part)
        _slice(whole.bn, part)
        whole.bn.num_features = whole.bn.weight.numel()
    else:
        _slice(whole, part)
    return whole


def _slice(layer: Any, part: slice) -> None:
    for name, parameter in list(layer.named_parameters(recurse=False)):
        sliced = nn.Parameter(parameter.detach()[part])
        sliced.grad = None if parameter.grad is None else parameter.grad[part]
        setattr(layer, name, sliced)
    for name, buffer in list(layer.named_buffers(recurse=False)):
        if buffer.ndim:  # not the count of batches
            setattr(layer, name, buffer[part])
    if isinstance(layer, nn.Conv2d):
        layer.out_channels = layer.weight.shape[0]
