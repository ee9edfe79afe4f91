"""Reads torch-pruning's dependency graph: which channels of which layers go together, and which cannot go at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from kd_yolo.yolo.prunable import CONVS, Place, TraceView


@dataclass(frozen=True)
class Member:
    """Channels of one layer that belong to a coupling.

    Attributes:
        place: the layer's place in the stock model.
        is_conv: whether it is a conv whose outputs they are.
        is_input: whether they are inputs of the layer.
        channels: their numbers in the stock layer.
        units: which channel of the coupling's root each of them goes with.
    """

    place: Place
    is_conv: bool
    is_input: bool
    channels: tuple[int, ...]
    units: tuple[int, ...]


@dataclass
class Coupling:
    """Channels that can only be cut together.

    Attributes:
        root: name of the first conv that has exactly these channels.
        width: how many there are.
        members: all layers that have some of them.
        layers: names of the convs whose outputs they are, in the order in which they run.
        group: torch-pruning's group, which its importances read.
        reason: why they all stay; None when they may be cut.
    """

    root: str
    width: int
    members: list[Member]
    layers: list[str]
    group: Any
    reason: str | None = None


def find_couplings(view: TraceView, image_nchw: Tensor, ignored: Collection[str]) -> list[Coupling]:
    """All couplings of a model, in the order in which their roots run.

    Args:
        view: the model, open for tracing.
        image_nchw: an image to run it on.
        ignored: names of convs whose width stays because the user said so.

    Raises:
        InputError: the model does something that pruning cannot follow.
    """
    with torch.enable_grad():  # torch-pruning reads the graph that autograd builds
        graph = tp.DependencyGraph().build_dependency(view.model, image_nchw, forward_fn=view.forward, verbose=False)
    reasons = {view.places[layer].name: why for layer, why in view.fixed.items() if layer in view.places}
    reasons |= dict.fromkeys(ignored, "ignored by the user")
    couplings: list[Coupling] = []
    taken: dict[str, int] = {}
    for conv in view.convs:
        if taken.get(view.places[conv].name, 0) < conv.out_channels:
            coupling = _coupling_of(conv, graph, view, reasons)
            if coupling is not None:
                couplings.append(coupling)
                for member in coupling.members:
                    if member.is_conv:
                        taken[member.place.name] = taken.get(member.place.name, 0) + len(member.channels)
    _fix_odd_ones(couplings, {view.places[conv].name: conv.out_channels for conv in view.convs}, taken)
    return couplings


def _coupling_of(conv: Any, graph: Any, view: TraceView, reasons: dict[str, str]) -> Coupling | None:
    """The coupling whose root is ``conv``; None when a narrower conv is: that one's channels are fewer, and free.

    GhostConv is why: it doubles its channels, so that two channels of whatever it is added to are one of its own.
    """
    group = graph.get_pruning_group(conv, tp.prune_conv_out_channels, list(range(conv.out_channels)))
    members = list(_members(group, view))
    outputs = [dep.target.module for dep, _ in group if isinstance(dep.target.module, CONVS) and not _reads(dep)]
    if min(output.out_channels for output in outputs) < conv.out_channels:
        return None
    own = {member.place.name for member in members if member.is_conv}
    layers = [name for name in (view.places[conv].name for conv in view.convs) if name in own]
    return Coupling(view.places[conv].name, conv.out_channels, members, layers, group, _reason(group, view, reasons))


def _members(group: Any, view: TraceView) -> Iterator[Member]:
    for item in group:
        layer = item.dep.target.module
        place = view.places.get(layer)
        if place is None:  # an operation between layers, or an anchor
            continue
        is_input = _reads(item.dep)
        offset = 0 if is_input else place.offset
        channels = tuple(offset + channel for channel in item.idxs)
        yield Member(place, isinstance(layer, CONVS) and not is_input, is_input, channels, tuple(item.root_idxs))


def _reads(dependency: Any) -> bool:
    """Whether it is about a layer's inputs; BatchNorms and depth-wise convs have only one side."""
    return dependency.handler in (tp.prune_conv_in_channels, tp.prune_linear_in_channels)


def _reason(group: Any, view: TraceView, reasons: dict[str, str]) -> str | None:
    """Why the channels of a group stay, if they do."""
    for dep, _ in group:
        layer = dep.target.module
        place = view.places.get(layer)
        if place is None and layer in view.fixed:
            return view.fixed[layer]
        if isinstance(layer, CONVS) and layer.groups > 1 and not _is_depthwise(layer):
            return "grouped conv"
        if place is not None and not _reads(dep) and place.name in reasons:
            return reasons[place.name]
    return None


def _is_depthwise(conv: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels == conv.out_channels


def _fix_odd_ones(couplings: list[Coupling], widths: dict[str, int], taken: dict[str, int]) -> None:
    """Every channel must be in exactly one coupling; where it is not, the structure was not understood."""
    odd = {name for name, width in widths.items() if taken.get(name, 0) != width}
    for coupling in couplings:
        if coupling.reason is None and odd & set(coupling.layers):
            coupling.reason = "its channels are coupled with each other"
