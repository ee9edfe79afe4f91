"""Which layers a network can spare: its accuracy after pruning each group alone, and a plan that follows from it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_json, write_text
from kd_yolo.config.prune import PruneSettings
from kd_yolo.data.sample import sample_classes, sample_detection
from kd_yolo.prune.measured import ROWS, WHOLE, Measured
from kd_yolo.prune.network import Network
from kd_yolo.prune.plan import MAX_SHARE, Rules, Unit, Widths, uniform_widths
from kd_yolo.prune.result import plan_yaml
from kd_yolo.yolo.evaluate import check_data, validate

# Ultralytics' names, the one that decides for a task first.
SCORES = ("metrics/mAP50-95(M)", "metrics/mAP50-95(P)", "metrics/mAP50-95(B)", "metrics/accuracy_top1")
BISECTIONS = 40


@dataclass(frozen=True)
class UnitDrop:
    """One unit pruned alone.

    Attributes:
        names: its groups.
        width: their channels.
        left: channels that were left.
        score: the network's accuracy then.
        drop: the accuracy of the whole network less that.
    """

    names: tuple[str, ...]
    width: int
    left: int
    score: float
    drop: float


@dataclass(frozen=True)
class Sensitivity:
    """The result of an :class:`Analysis`.

    Attributes:
        metric: ultralytics' name of the accuracy.
        base: that of the whole network on the same images, its statistics re-estimated in the same way.
        drops: one row per unit, in network order; units too narrow to lose a block are left out.
        widths: the plan that follows, by group name.
    """

    metric: str
    base: float
    drops: tuple[UnitDrop, ...]
    widths: Widths

    def write(self, folder: Path, model: str) -> None:
        """Writes ``sensitivity.json`` and ``plan.yaml``; rows that were kept on the way go."""
        body = {"model": model, "metric": self.metric, "base": self.base, "drops": [asdict(row) for row in self.drops]}
        write_json(folder / "sensitivity.json", body)
        write_text(folder / "plan.yaml", plan_yaml(model, self.widths))
        (folder / ROWS).unlink(missing_ok=True)


@dataclass(frozen=True)
class Analysis:
    """Prunes each unit alone by the factor, re-estimates BatchNorm statistics, and validates.

    Attributes:
        settings: ``data`` is needed; ``sensitivity_images`` images of its validation split are used.
        say: called with a line for each unit.
    """

    settings: PruneSettings
    say: Callable[[str], None]

    def run(self, keep_in: Path | None = None) -> Sensitivity:
        """Measures all units.

        Args:
            keep_in: a folder in which each score is kept as soon as it is known; those of an earlier, interrupted call
                with the same settings are not measured again.

        Raises:
            ConfigError: no data, a target or a plan instead of a factor, nothing that can be pruned.
            InputError: weights or data that cannot be used.
        """
        settings = self.settings
        if settings.data is None:
            raise ConfigError("--sensitivity measures accuracy: add data=my/data.yaml")
        if settings.target is not None or settings.plan is not None:
            raise ConfigError("--sensitivity prunes each layer by --factor: leave the target or plan out.")
        with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(settings.seed)
            whole = Network.load(settings)
            bench = _Bench(whole, _sample(whole, settings.data, Path(folder) / "set"))
            whole.rank()
            narrowed = uniform_widths(whole.units, settings.share, whole.rules)
            tried = [unit for unit in whole.units if narrowed[unit.name] < unit.width]
            if not tried:
                raise ConfigError(
                    f"factor {settings.share:g} is too small for a block of {settings.round_to} channels."
                )
            metric, base, scores = self._measure(bench, tried, narrowed, Measured(keep_in, settings))
        drops = [UnitDrop(u.names, u.width, narrowed[u.name], s, base - s) for u, s in zip(tried, scores, strict=True)]
        widths = plan_by_drop(whole.units, drops, settings.share, whole.rules)
        return Sensitivity(metric, base, tuple(drops), widths)

    def _measure(
        self, bench: _Bench, tried: Sequence[Unit], narrowed: Widths, measured: Measured
    ) -> tuple[str, float, list[float]]:
        """The metric, the accuracy of the whole network, and that with each unit cut."""
        metric, base = measured.scores.get(WHOLE) or bench.score_whole()
        if not base:
            raise InputError(
                f"{self.settings.model} finds nothing on {self.settings.data}: no pruning can make that worse."
            )
        if len(measured.scores) > 1:
            self.say(f"going on: {len(measured.scores) - 1} of {len(tried)} layers are measured")
        measured.add(WHOLE, metric, base)
        for i, unit in enumerate(tried, 1):
            if unit.name not in measured.scores:
                left = narrowed[unit.name]
                measured.add(unit.name, metric, bench.score_without(unit, left))
                score = measured.scores[unit.name][1]
                self.say(f"[{i}/{len(tried)}] {unit.name}: {unit.width} -> {left} channels, {metric} {score:.4f}")
        return metric, base, [measured.scores[unit.name][1] for unit in tried]


@dataclass(frozen=True)
class _Bench:
    """A network, and the images on which it is measured."""

    whole: Network
    data: Path

    def score_whole(self) -> tuple[str, float]:
        """The accuracy of the whole network, its statistics re-estimated as for the others, and the name of it."""
        return self._score(replace(self.whole, model=copy.deepcopy(self.whole.model)))

    def score_without(self, unit: Unit, left: int) -> float:
        """Accuracy when one unit alone is cut to its ``left`` best channels."""
        return self._score(self.whole.cut(dict.fromkeys(unit.names, left)))[1]

    def _score(self, network: Network) -> tuple[str, float]:
        settings = network.settings
        torch.manual_seed(settings.seed)  # a score does not depend on those that were measured before
        network.recover(settings.sensitivity_images)
        device = str(next(network.model.parameters()).device)
        found = validate(network.model, self.data, imgsz=settings.imgsz, batch=settings.batch, device=device)
        name = next(name for name in SCORES if name in found)
        return name, found[name]


def _sample(network: Network, data: str, folder: Path) -> Path:
    """A data set of a few validation images."""
    check_data(network.model, data)
    sample = sample_classes if network.model.task == "classify" else sample_detection
    return sample(data, "val", network.settings.sensitivity_images, network.settings.seed, folder)


def plan_by_drop(units: Sequence[Unit], drops: Sequence[UnitDrop], factor: float, rules: Rules) -> Widths:
    """A plan that takes about ``factor`` of all channels, most from the units whose pruning cost least.

    Units are ranked by their drop; the share that each loses falls from the least sensitive one to none at the most
    sensitive one. Ranks, not the drops themselves: a few images tell which layer is worse, but hardly by how much.

    Args:
        units: all units.
        drops: of those that can lose a block.
        factor: share of all channels.
        rules: see :class:`~kd_yolo.prune.plan.Rules`.
    """
    ranked = sorted(drops, key=lambda row: row.drop)
    spared = {row.names: i / max(len(ranked) - 1, 1) for i, row in enumerate(ranked)}
    wanted = factor * sum(unit.width * len(unit.names) for unit in units)

    def plan(slope: float) -> Widths:
        shares = {unit: min(MAX_SHARE, slope * (1 - spared.get(unit.names, 1.0))) for unit in units}
        return {
            name: rules.clamped(unit.width * (1 - share), unit.width)
            for unit, share in shares.items()
            for name in unit.names
        }

    def taken(widths: Widths) -> float:
        return sum(unit.width - widths[name] for unit in units for name in unit.names)

    low, high = 0.0, float(len(ranked))  # there the second most sensitive unit loses all that it may
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(plan(middle)) <= wanted else (low, middle)
    return plan(low)
