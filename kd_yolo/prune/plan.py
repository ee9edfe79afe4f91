"""Plans: how many channels of each group stay, and which.

Groups that must have equal widths (the halves of a splitting conv) form one unit: they get one number, and each keeps
its own best channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest

MAX_SHARE = 0.9  # a global ranking takes no more of a group: a layer that is cut through carries nothing
Widths = dict[str, int]


class Group(Protocol):
    """What a plan must know of a :class:`kd_yolo.prune.graph.ChannelGroup`."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def follows(self) -> str | None: ...


@dataclass(frozen=True)
class Unit:
    """Groups of equal width that stay equal: all but splitting convs are alone."""

    names: tuple[str, ...]
    width: int

    @property
    def name(self) -> str:
        """Of its first group."""
        return self.names[0]


@dataclass(frozen=True)
class Rules:
    """What widths a plan may use.

    Attributes:
        round_to: widths are multiples of it (the nearest), as runtimes compute in such blocks.
        min_channels: the smallest width that a group is cut to.
    """

    round_to: int = 8
    min_channels: int = 8

    @property
    def least(self) -> int:
        """The narrowest width that a group is cut to."""
        return math.ceil(self.min_channels / self.round_to) * self.round_to

    def nearest(self, wanted: float, width: int) -> int:
        """The width for a group of ``width`` channels of which ``wanted`` would stay, the minimum ignored.

        A group that is as narrow as the minimum stays. One whose width is no multiple gets one that is.
        """
        if width <= self.least:
            return width
        rounded = math.floor(wanted / self.round_to + 0.5 + 1e-9) * self.round_to  # 70 * (1 - 0.8) is 13.999...
        return min(rounded, width // self.round_to * self.round_to)

    def clamped(self, wanted: float, width: int) -> int:
        """As :meth:`nearest`, but never under the minimum."""
        return max(self.nearest(wanted, width), min(self.least, width))


def units_of(groups: Iterable[Group]) -> list[Unit]:
    """Gathers groups that must have equal widths, in the order of the groups."""
    members: dict[str, list[str]] = {}
    widths: Widths = {}
    for group in groups:
        members.setdefault(group.follows or group.name, []).append(group.name)
        widths[group.name] = group.width
    return [Unit(tuple(names), widths[names[0]]) for names in members.values()]


def widths_of(groups: Iterable[Group]) -> Widths:
    """The widths as they are."""
    return {group.name: group.width for group in groups}


def uniform_widths(units: Iterable[Unit], factor: float, rules: Rules) -> Widths:
    """Every unit loses the same share, as near as whole blocks allow; none gets narrower than the minimum."""
    return {name: rules.clamped(unit.width * (1 - factor), unit.width) for unit in units for name in unit.names}


def require_minimum(units: Iterable[Unit], factor: float, rules: Rules) -> None:
    """Checks that a uniform plan leaves every unit its minimum.

    Raises:
        ConfigError: it does not; the message names the unit and the largest factor that works.
    """
    cut = [unit for unit in units if unit.width > rules.least]
    short = [unit for unit in cut if rules.nearest(unit.width * (1 - factor), unit.width) < rules.least]
    if not short:
        return
    unit = min(short, key=lambda one: one.width)
    # the nearest multiple of what stays is the minimum down to half a block under it
    largest = min(1 - (rules.least - rules.round_to / 2) / one.width for one in cut)
    raise ConfigError(
        f"factor {factor:g} would leave {unit.name} {unit.width * (1 - factor):.3g} of its {unit.width} channels, fewer"
        f" than the minimum of {rules.least}. The largest factor that works is {math.floor(largest * 1000) / 1000:g};"
        " or use smaller --round-to and --min-channels, or --ignore that layer."
    )


def rank_globally(units: Iterable[Unit], scores: Mapping[str, Tensor], factor: float, rules: Rules) -> Widths:
    """The worst channels of all groups go, up to ``MAX_SHARE`` of each group.

    Args:
        units: what is planned.
        scores: (width,) by group name, comparable between groups.
        factor: share of all channels that goes, before rounding.
        rules: see :class:`Rules`.
    """
    units = list(units)
    gone = _worst({name: scores[name] for unit in units for name in unit.names}, factor)
    widths: Widths = {}
    for unit in units:
        stay = unit.width - sum(gone[name] for name in unit.names) / len(unit.names)
        width = rules.clamped(max(stay, (1 - MAX_SHARE) * unit.width), unit.width)
        widths |= dict.fromkeys(unit.names, width)
    return widths


def _worst(scores: Mapping[str, Tensor], factor: float) -> dict[str, int]:
    """How many of the worst channels of all groups are in each; of equal ones (zero gammas) all groups give alike."""
    values = np.concatenate([score.numpy() for score in scores.values()])
    depth = np.concatenate([_ranks(score.numpy()) / len(score) for score in scores.values()])
    owner = np.repeat(np.arange(len(scores)), [len(score) for score in scores.values()])
    worst = owner[np.lexsort((depth, values))[: round(factor * len(values))]]
    return dict(zip(scores, np.bincount(worst, minlength=len(scores)).tolist(), strict=True))


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    ranks: npt.NDArray[np.intp] = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ranks


def best_channels(scores: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, list[int]]:
    """The best channels of each group, sorted; of equal ones the first."""
    best = {name: torch.argsort(scores[name], descending=True, stable=True) for name in widths}
    return {name: sorted(best[name][:width].tolist()) for name, width in widths.items()}


def widths_on_the_way(before: Mapping[str, int], after: Mapping[str, int], progress: float, rules: Rules) -> Widths:
    """Widths at ``progress`` in (0, 1] of the way from ``before`` to ``after``."""
    if progress >= 1:
        return dict(after)
    return {
        name: max(after[name], rules.clamped(width - (width - after[name]) * progress, width))
        if after[name] < width
        else width
        for name, width in before.items()
    }


def widths_from_plan(
    groups: Iterable[Group], fixed: Mapping[str, str], wanted: Mapping[str, int], where: str
) -> Widths:
    """The widths of a plan file, checked against a network.

    Args:
        groups: of the network.
        fixed: its convs whose width stays, each with the reason.
        wanted: widths by group name; the others stay, and so do partners of a splitting conv follow the one named.
        where: the file, for the error message.

    Raises:
        ConfigError: every name that is unknown, every width that is too large, halves of unequal widths.
    """
    groups = list(groups)
    known, problems = widths_of(groups), []
    for name, width in wanted.items():
        if name not in known:
            why = f" Its width stays: {fixed[name]}." if name in fixed else nearest(name, known)
            problems.append(f"'{name}' is no group of channels that can be cut.{why}")
        elif width > known[name]:
            problems.append(f"{name} has {known[name]} channels, the plan wants {width}.")
    widths = dict(known)
    for unit in units_of(groups):
        asked = {name: wanted[name] for name in unit.names if name in wanted}
        if len(set(asked.values())) > 1:
            shown = ", ".join(f"{name}: {width}" for name, width in asked.items())
            problems.append(f"halves of one conv need equal widths: {shown}.")
        widths |= dict.fromkeys(unit.names, next(iter(asked.values()), unit.width))
    if problems:
        raise ConfigError("\n".join([f"{where}: {len(problems)} problem(s)", *(f"  {line}" for line in problems)]))
    return widths


def whole_units(units: Iterable[Unit], widths: Mapping[str, int], rules: Rules) -> dict[str, str]:
    """Groups that a plan does not touch, each with the reason."""
    reasons: dict[str, str] = {}
    for unit in units:
        if widths[unit.name] == unit.width:
            narrow = unit.width <= rules.least
            why = f"as narrow as the minimum ({rules.least})" if narrow else f"under half a block of {rules.round_to}"
            reasons |= dict.fromkeys(unit.names, why)
    return reasons


@dataclass(frozen=True)
class Plan:
    """What a pruning does to a network.

    Attributes:
        before: widths by group name, in network order.
        after: widths that are left.
        fixed: convs whose width cannot change, each with the reason.
        whole: groups that could have been cut but were not, each with the reason.
    """

    before: Widths
    after: Widths
    fixed: Mapping[str, str]
    whole: Mapping[str, str]

    @property
    def removed_share(self) -> float:
        """Share of the channels of all groups that goes."""
        return 1 - sum(self.after.values()) / sum(self.before.values())
