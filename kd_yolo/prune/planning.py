"""Which widths a network gets: those of a plan file, for a target, or by a factor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.base import read_yaml
from kd_yolo.config.prune import PlanFile, Target
from kd_yolo.prune.network import Network, latency_of
from kd_yolo.prune.plan import (
    Plan,
    Widths,
    rank_globally,
    require_minimum,
    uniform_widths,
    whole_units,
    widths_from_plan,
)
from kd_yolo.prune.target import Reached, blocks_between, search


def make_plan(network: Network, say: Callable[[str], None]) -> tuple[Plan, Reached | None]:
    """The plan that the settings of a ranked network ask for, and with a target what the search found.

    Raises:
        ConfigError: a plan file that does not fit, a factor or target that cannot be met.
    """
    settings, reached = network.settings, None
    if settings.plan is not None:
        after = _read_plan(network, settings.plan)
    elif settings.target is not None:
        say(f"searching for {settings.target}")
        blocks = partial(blocks_between, network.units, network.scores, network.rules)
        cost = _Cost(network, settings.target)
        reached = search(settings.target, partial(_widths_by_factor, network), cost, blocks)
        after = reached.widths
    else:
        if not settings.ranks_globally:
            require_minimum(network.units, settings.share, network.rules)
        after = _widths_by_factor(network, settings.share)
    if after == network.widths:
        raise ConfigError(
            "nothing would be removed: every layer is as narrow as the minimum, or the factor is too small for a block"
            f" of {settings.round_to} channels. Use a larger --factor, or a smaller --round-to and --min-channels."
        )
    whole = whole_units(network.units, after, network.rules)
    return Plan(network.widths, after, network.graph.fixed, whole), reached


def _read_plan(network: Network, file: str) -> Widths:
    wanted = PlanFile.parse(read_yaml(Path(file)), file).widths
    widths = widths_from_plan(network.graph.groups, network.graph.fixed, wanted, file)
    if widths == network.widths:
        raise ConfigError(f"{file}: the network has these widths already, nothing would be removed.")
    return widths


def _widths_by_factor(network: Network, factor: float) -> Widths:
    if network.settings.ranks_globally:
        return rank_globally(network.units, network.scores, factor, network.rules)
    return uniform_widths(network.units, factor, network.rules)


class _Cost:
    """Cuts copies of a network and measures them in the unit of a target; equal widths are measured once.

    Args:
        network: ranked; it is not touched.
        target: what is measured.
    """

    def __init__(self, network: Network, target: Target) -> None:
        self.network, self.target = network, target
        self._known: dict[tuple[int, ...], float] = {}
        self._whole_ms: float | None = None

    def __call__(self, widths: Widths) -> float:
        key = tuple(widths.values())
        if key not in self._known:
            self._known[key] = self._measure(self.network.cut(widths, proof=False))
        return self._known[key]

    def _measure(self, candidate: Network) -> float:
        if self.target.what == "latency":
            whole, narrow = latency_of((self.network, candidate))
            self._whole_ms = self._whole_ms or whole.p50_ms  # what else the machine does slows both down
            return narrow.p50_ms * self._whole_ms / whole.p50_ms
        size = candidate.measure()
        return size.deployed_gflops if self.target.what == "flops" else size.deployed_parameters / 1e6
