"""The least pruning that meets a target: bisection on the factor, then single blocks of channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.prune import Target
from kd_yolo.prune.plan import Rules, Unit, Widths

BISECTIONS = 10  # of the factor: to a thousandth


@dataclass(frozen=True)
class Reached:
    """What a search found.

    Attributes:
        widths: by group name.
        value: what the network then costs, in the unit of the target.
        whole: what it costs unpruned.
    """

    widths: Widths
    value: float
    whole: float


@dataclass(frozen=True)
class Block:
    """Channels that go in one step: the next ``round_to`` worst ones of a unit.

    Attributes:
        unit: what they are taken from.
        width: of the unit when they are gone.
        score: their mean importance.
    """

    unit: Unit
    width: int
    score: float


def search(
    target: Target,
    plan: Callable[[float], Widths],
    measure: Callable[[Widths], float],
    blocks: Callable[[Widths, Widths], list[Block]],
) -> Reached:
    """Finds widths that meet a target with as little pruning as blocks allow.

    Args:
        target: what is allowed.
        plan: widths for a factor in [0, 1]; 0 is the whole network, more never gives wider layers.
        measure: what a network of such widths costs, in the unit of the target.
        blocks: the steps from one plan to a narrower one, in the order in which they are taken.

    Raises:
        ConfigError: the whole network meets the target, or the narrowest one does not.
    """
    most, least = plan(0), plan(1)
    whole, smallest = measure(most), measure(least)
    limit = target.limit(whole)
    if whole <= limit:
        raise ConfigError(f"{target}: the network has {target.show(whole)} already, there is nothing to prune.")
    if smallest > limit:
        nearest = math.ceil(1000 * smallest / whole) / 1000
        raise ConfigError(
            f"{target} cannot be met: with every layer as narrow as it may get the network has {target.show(smallest)},"
            f" {smallest / whole:.3g} of the unpruned one's {target.show(whole)}. Nearest that can be met:"
            f" --target-{target.what} {nearest:g}. Smaller --round-to and --min-channels, or less in --ignore,"
            " allow more."
        )
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        widths = plan(middle)
        known = widths in (most, least)
        meets = widths == least if known else measure(widths) <= limit
        low, high = (low, middle) if meets else (middle, high)
        most, least = (most, widths) if meets else (widths, least)
    return _finish(most, blocks(most, least), measure, limit, whole)


def _finish(
    widths: Widths, steps: list[Block], measure: Callable[[Widths], float], limit: float, whole: float
) -> Reached:
    """Bisection on the number of steps; all of them are known to meet the limit, none of them is known not to."""
    low, high = 0, len(steps)
    found = _taken(widths, steps)
    value = measure(found)
    while high - low > 1:
        middle = (low + high) // 2
        candidate = _taken(widths, steps[:middle])
        cost = measure(candidate)
        if cost <= limit:
            high, found, value = middle, candidate, cost
        else:
            low = middle
    return Reached(found, value, whole)


def _taken(widths: Widths, steps: Iterable[Block]) -> Widths:
    widths = dict(widths)
    for step in steps:
        widths |= dict.fromkeys(step.unit.names, step.width)
    return widths


def blocks_between(
    units: Iterable[Unit], scores: Mapping[str, Tensor], rules: Rules, wide: Widths, narrow: Widths
) -> list[Block]:
    """The blocks in which two plans differ, those that matter least first.

    Args:
        units: all units.
        scores: (width,) by group name, comparable between groups.
        rules: how large a block is.
        wide: widths.
        narrow: widths, none larger.
    """
    blocks = []
    for unit in units:
        ranked = sum(scores[name].sort().values for name in unit.names) / len(unit.names)
        width = wide[unit.name]
        while width > narrow[unit.name]:
            below = max((width - 1) // rules.round_to * rules.round_to, narrow[unit.name])
            gone = ranked[unit.width - width : unit.width - below]  # type: ignore[index]
            blocks.append(Block(unit, below, float(gone.mean())))
            width = below
    return sorted(blocks, key=lambda block: block.score)
