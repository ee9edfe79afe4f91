"""One pruning from start to end: load, rank, plan, cut, recover, measure, write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from kd_yolo.base.files import write_text
from kd_yolo.config.prune import PruneSettings
from kd_yolo.prune.cost import latency_of, size_of
from kd_yolo.prune.network import Network
from kd_yolo.prune.notes import notes_on
from kd_yolo.prune.plan import Plan, widths_on_the_way
from kd_yolo.prune.planning import make_plan
from kd_yolo.prune.result import PruneResult, plan_text, report_text

log = logging.getLogger("kd_yolo")
# Weights after a step and its number (from 1) -> the same network, trained.
Retrain = Callable[[Path, int], Path]


@dataclass(frozen=True)
class Pruning:
    """One pruning. Equal settings and files give an equal network.

    Attributes:
        settings: what is asked for.
        say: called with a line on what happens next.
    """

    settings: PruneSettings
    say: Callable[[str], None] = log.info

    def run(self, folder: Path, retrain: Retrain | None = None) -> PruneResult:
        """Prunes the network and writes ``weights/pruned.pt``, ``plan.yaml`` and ``report.json`` into ``folder``.

        Nothing is written before the network is cut and measured, but for the steps of an iterative pruning with
        ``retrain``: ``weights/step<n>.pt``.

        Args:
            folder: is made; files of an earlier pruning in it are replaced.
            retrain: called between the steps of an iterative pruning; without it only BatchNorm statistics are
                re-estimated between them.

        Raises:
            ConfigError: settings that do not fit the network, or a target that cannot be met.
            InputError: weights or data that cannot be used.
            KDYoloError: the network does something that pruning does not know, or a file cannot be written.
        """
        with _seeded(self.settings.seed):
            whole = Network.load(self.settings)
            notes = notes_on(whole)
            self.say(f"ranking channels ({self.settings.criterion})")
            whole.rank()
            plan, reached = make_plan(whole, self.say)
            pruned = self._cut_in_steps(whole, plan, folder / "weights", retrain)
        pruned.require_widths(plan.after)
        result = replace(self._measure(whole, pruned, plan), reached=reached, notes=notes)
        return _write(result, pruned, folder)

    def preview(self) -> PruneResult:
        """What :meth:`run` would do, measured on a copy; writes nothing.

        Raises:
            ConfigError, InputError, KDYoloError: see :meth:`run`.
        """
        settings = self.settings
        with _seeded(settings.seed):
            whole = Network.load(settings)
            notes = notes_on(whole)
            widths_need_scores = settings.ranks_globally or settings.target is not None
            whole.rank(settings.criterion if widths_need_scores else "l2")
            plan, reached = make_plan(whole, self.say)
            pruned = whole.cut(plan.after)
        return replace(self._measure(whole, pruned, plan), reached=reached, notes=notes)

    def _cut_in_steps(self, network: Network, plan: Plan, weights: Path, retrain: Retrain | None) -> Network:
        """After each step the statistics are re-estimated, between them the caller may train."""
        num_steps, widths = self.settings.iterative, plan.before
        for step in range(1, num_steps + 1):
            if step > 1:
                network.rank()
                network.require_widths(widths)
            widths = widths_on_the_way(plan.before, plan.after, step / num_steps, network.rules)
            left = sum(widths.values()) / sum(plan.before.values())
            self.say(f"cutting, step {step} of {num_steps}: {left:.1%} of the channels stay")
            network = network.cut(widths)
            if self.settings.recalibrates:
                self.say("re-estimating BatchNorm statistics")
                network.recover(self.settings.recalibration_images)
            if retrain is not None and step < num_steps:
                saved = network.save(weights / f"step{step}.pt", {"step": step, "of": num_steps})
                network = network.reload(retrain(saved, step))
        return network

    def _measure(self, whole: Network, pruned: Network, plan: Plan) -> PruneResult:
        self.say("measuring")
        sizes = size_of(whole), size_of(pruned)
        before_ms, after_ms = latency_of((whole, pruned))
        channels = _channels(whole.model), _channels(pruned.model)
        return PruneResult(self.settings, plan, *sizes, (before_ms, after_ms), channels)


def _channels(model: nn.Module) -> dict[str, int]:
    convs = (nn.Conv2d, nn.ConvTranspose2d)
    return {name: layer.out_channels for name, layer in model.named_modules() if isinstance(layer, convs)}


def _write(result: PruneResult, pruned: Network, folder: Path) -> PruneResult:
    """``pruned.pt`` comes last: who finds it finds everything."""
    write_text(folder / "plan.yaml", plan_text(result))
    write_text(folder / "report.json", report_text(result))
    history = {"settings": result.settings.model_dump(), "widths": dict(result.plan.after)}
    return replace(result, path=pruned.save(folder / "weights" / "pruned.pt", history))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random importance and RT-DETR's denoising queries repeat; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
