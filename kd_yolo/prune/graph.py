"""Which channels of a detector belong together, how much they matter, and cutting them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch_pruning as tp
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest
from kd_yolo.prune.coupling import Coupling, find_couplings
from kd_yolo.prune.ignore import matching_convs
from kd_yolo.prune.surgery import Removal, prove, remove_channels
from kd_yolo.yolo.prunable import TraceView, synchronise

Importance = Callable[[Any], Tensor | None]
_CLOSED = "a graph describes the model before it is cut and inside its `with` block: open a new one"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that go together.

    Attributes:
        name: of its first conv in network order, a name of the stock model (``model.2.m.0.cv1.conv``). The halves of a
            splitting conv end in ``[a]`` and ``[b]`` (``model.2.cv1.conv[a]``); CBLinear has more parts.
        width: output channels now.
        layers: names, in the same way, of all convs whose outputs are these channels. GhostConv doubles its channels:
            a conv that its output is added to has twice the group's width.
        follows: name of the group whose width this one must have (other half of a splitting conv), else None.
    """

    name: str
    width: int
    layers: tuple[str, ...]
    follows: str | None


class ChannelGraph:
    """The channels of a model, as groups that can be cut.

    Args:
        model: a YOLO task model, not fused. It consists of stock classes at any time: what is traced is a copy that
            shares its tensors.
        image_nchw: an image to run it on, (1,C,S,S); small is enough (twice the largest stride).
        ignore: convs whose width stays: names, names of modules for everything in them, or either with ``*`` and ``?``.

    Attributes:
        groups: in network order.
        fixed: name of each other conv -> why its width stays.
        kept: after a :meth:`cut`, name of each stock conv, BatchNorm and linear layer -> which of its outputs are left.

    Raises:
        InputError: the model is fused, or has a head or a block that cannot be pruned.
        ConfigError: an ``ignore`` pattern covers nothing.
    """

    def __init__(self, model: nn.Module, image_nchw: Tensor, ignore: Sequence[str] = ()) -> None:
        self._model, self._image = model, image_nchw.to(next(model.parameters()))
        view = TraceView(model)
        ignored = matching_convs(ignore, view.conv_names())
        couplings = find_couplings(view, self._image, ignored)
        _fix_partners(couplings, view.ties)
        self._couplings = {coupling.root: coupling for coupling in couplings if coupling.reason is None}
        leaders = _leaders(self._couplings, view.ties)
        self.groups = tuple(
            ChannelGroup(name, coupling.width, tuple(coupling.layers), leaders.get(name))
            for name, coupling in self._couplings.items()
        )
        self.fixed = _fixed(couplings, view)
        self.kept: dict[str, list[int]] = {}
        self._open = True

    def __enter__(self) -> ChannelGraph:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open = False
        self._couplings = {}  # the traced copy goes with it

    def scores(self, importance: Importance) -> dict[str, Tensor]:
        """How much each channel matters.

        Args:
            importance: one of torch-pruning's, called on its groups. A group that it cannot rank (BatchNorm's gammas,
                but no BatchNorm) is ranked by the magnitude of its weights.

        Returns:
            A float vector (width,) for each group's name. Gradients are those that the model's parameters had when the
            graph was opened.
        """
        assert self._open, _CLOSED
        magnitude = tp.importance.GroupMagnitudeImportance(p=2)
        scores = {}
        for name, coupling in self._couplings.items():
            score = importance(coupling.group)
            score = magnitude(coupling.group) if score is None else score
            scores[name] = score.detach().float()[: coupling.width]  # a wider layer's score ends in zeros
        return scores

    def cut(self, keep: Mapping[str, Sequence[int]], copied: nn.Module | None = None, *, proof: bool = True) -> None:
        """Cuts channels out in place: out of the model, once, or out of any number of its copies.

        Args:
            keep: by group name, the sorted numbers of the channels that stay; groups not named stay whole.
            copied: the copy of the model to cut; None is the model itself, which closes the graph.
            proof: first check on copies that the result is the same network less those channels; most of the time goes
                there, so that a search may leave it out for models that it throws away.

        Raises:
            ConfigError: an unknown group, an empty, unsorted or impossible list, halves of unequal widths.
            KDYoloError: the result would not be the same network less those channels; the model is as it was.
        """
        assert self._open, _CLOSED
        self._check(keep)
        removals = self._removals(keep)
        kept = _kept(self._model, removals)

        def apply(model: nn.Module) -> None:
            remove_channels(model, removals)
            synchronise(model, kept)

        if removals and proof:
            prove(self._model, removals, apply, self._image)
        apply(self._model if copied is None else copied)
        self.kept = kept
        if copied is None:
            self.__exit__()

    def _removals(self, keep: Mapping[str, Sequence[int]]) -> dict[str, Removal]:
        removals: dict[str, Removal] = {}
        for name, channels in keep.items():
            coupling = self._couplings[name]
            gone = set(range(coupling.width)) - set(channels)
            for member in coupling.members if gone else ():
                removal = removals.setdefault(member.place.stock, Removal())
                side = removal.inputs if member.is_input else removal.outputs
                side |= {channel for channel, unit in zip(member.channels, member.units, strict=True) if unit in gone}
        return removals

    def _check(self, keep: Mapping[str, Sequence[int]]) -> None:
        widths = {group.name: group.width for group in self.groups}
        for name, channels in keep.items():
            if name not in widths:
                why = f" Its width stays: {self.fixed[name]}." if name in self.fixed else nearest(name, widths)
                raise ConfigError(f"'{name}' is no group of channels that can be cut.{why}")
            listed = list(channels)
            if not listed:
                raise ConfigError(f"{name}: no channel is left of {widths[name]}. Keep at least one.")
            if listed != sorted(set(listed)) or listed[0] < 0 or listed[-1] >= widths[name]:
                raise ConfigError(f"{name}: channels to keep must be sorted numbers from 0 to {widths[name] - 1}.")
            widths[name] = len(listed)
        for group in self.groups:
            if group.follows is not None and widths[group.name] != widths[group.follows]:
                raise ConfigError(
                    f"{group.name} would keep {widths[group.name]} channels, {group.follows} {widths[group.follows]}:"
                    " halves of one conv need equal widths. Keep equally many of both."
                )


def _fix_partners(couplings: list[Coupling], ties: Sequence[tuple[str, ...]]) -> None:
    """A part whose partner's width stays must stay as well, and so on."""
    of_part = {part: [c for c in couplings if part in c.layers] for tie in ties for part in tie}
    changed = True
    while changed:
        changed = False
        for tie in ties:
            tied = [coupling for part in tie for coupling in of_part[part]]
            stays = next((coupling for coupling in tied if coupling.reason is not None), None)
            uneven = len({coupling.width for coupling in tied}) > 1  # one of them is coupled with itself
            for coupling in tied if stays or uneven else ():
                if coupling.reason is None:
                    partner = f" ({stays.root}: {stays.reason})" if stays else ""
                    coupling.reason = f"must be as wide as the conv's other half{partner}"
                    changed = True


def _leaders(couplings: Mapping[str, Coupling], ties: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """Who follows whom: of all groups that ties connect, the one with the most layers leads (the last of equals)."""
    by_layer = {layer: name for name, coupling in couplings.items() for layer in coupling.layers}
    clusters: list[set[str]] = []
    for tie in ties:
        cluster = {by_layer[part] for part in tie if part in by_layer}
        cluster = cluster.union(*(other for other in clusters if other & cluster))
        clusters = [other for other in clusters if not other & cluster] + [cluster]
    leaders: dict[str, str] = {}
    for cluster in clusters:
        ordered = [name for name in couplings if name in cluster]
        leader = max(reversed(ordered), key=lambda name: len(couplings[name].layers), default="")
        leaders |= {name: leader for name in ordered if name != leader}
    return leaders


def _fixed(couplings: list[Coupling], view: TraceView) -> dict[str, str]:
    """Each conv that is in no group -> why."""
    own = {view.places[layer].name: why for layer, why in view.fixed.items() if layer in view.places}
    free = {layer for coupling in couplings if coupling.reason is None for layer in coupling.layers}
    fixed: dict[str, str] = {}
    for coupling in couplings:
        if coupling.reason is not None:
            fixed |= {layer: own.get(layer, coupling.reason) for layer in coupling.layers if layer not in free}
    return {**fixed, **{name: why for name, why in own.items() if name not in fixed}}


def _kept(model: nn.Module, removals: Mapping[str, Removal]) -> dict[str, list[int]]:
    kept = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.Linear):
            gone = removals[name].outputs if name in removals else set()
            width = layer.num_features if isinstance(layer, nn.BatchNorm2d) else _width(layer)
            kept[name] = [channel for channel in range(width) if channel not in gone]
    return kept


def _width(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)
