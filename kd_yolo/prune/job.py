"""One pruning from start to end: load, rank, plan, cut, mend, measure, write."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import write_text
from kd_yolo.config.base import read_yaml
from kd_yolo.config.prune import PlanFile, PruneSettings
from kd_yolo.prune import network
from kd_yolo.prune.network import Study
from kd_yolo.prune.plan import (
    Plan,
    Rules,
    Widths,
    given,
    globally,
    on_the_way,
    require_minimum,
    uniform,
    units_of,
    whole_units,
    widths_of,
)
from kd_yolo.prune.result import PruneResult, plan_text, report_text
from kd_yolo.prune.target import Reached, blocks_between, search
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned
from kd_yolo.yolo.measure import measure_size

log = logging.getLogger("kd_yolo")
Say = Callable[[str], None]
# Weights after a step and its number (from 1) -> the same network, trained.
Retrain = Callable[[Path, int], Path]


def prune(
    settings: PruneSettings, folder: str | Path, *, retrain: Retrain | None = None, say: Say = log.info
) -> PruneResult:
    """Prunes a network and writes ``weights/pruned.pt``, ``plan.yaml`` and ``report.json`` into ``folder``.

    Nothing is written before the network is cut and measured, but for the steps of an iterative pruning with
    ``retrain``: ``weights/step<n>.pt``. Equal settings and files give an equal network.

    Args:
        settings: what is asked for.
        folder: is made; files of an earlier pruning in it are replaced.
        retrain: called between the steps of an iterative pruning; without it only BatchNorm statistics are
            re-estimated between them.
        say: called with a line on what happens next.

    Raises:
        ConfigError: settings that do not fit the network, or a target that cannot be met.
        InputError: weights or data that cannot be used.
        KDYoloError: the network does something that pruning does not know, or a file cannot be written.
    """
    folder = Path(folder)
    with _seeded(settings.seed):
        model, checkpoint = network.load_network(settings)
        notes = network.notes_on(model, settings)
        say(f"ranking channels ({settings.criterion})")
        found = network.study(model, settings)
        plan, reached = make_plan(model, settings, found, say)
        work = _Work(copy.deepcopy(model), checkpoint, folder / "weights", retrain, say)
        pruned = _carry_out(work, settings, plan, found)
    network.require_widths(pruned, settings, plan.after)
    result = replace(_measured(model, pruned, settings, plan, say), reached=reached, notes=tuple(notes))
    return _write(result, pruned, checkpoint, folder)


def preview(settings: PruneSettings, *, say: Say = log.info) -> PruneResult:
    """What :func:`prune` would do, measured on a copy; writes nothing.

    Raises:
        ConfigError, InputError, KDYoloError: see :func:`prune`.
    """
    with _seeded(settings.seed):
        model, _ = network.load_network(settings)
        notes = network.notes_on(model, settings)
        widths_need_scores = settings.ranks_globally or settings.target is not None
        found = network.study(model, settings, settings.criterion if widths_need_scores else "l2")
        plan, reached = make_plan(model, settings, found, say)
        pruned = copy.deepcopy(model)
        network.cut(pruned, settings, found.scores, plan.after)
    return replace(_measured(model, pruned, settings, plan, say), reached=reached, notes=tuple(notes))


def make_plan(model: Any, settings: PruneSettings, found: Study, say: Say) -> tuple[Plan, Reached | None]:
    """The widths that the settings ask for.

    Raises:
        ConfigError: a plan file that does not fit, a factor or target that cannot be met.
    """
    rules, units = Rules(settings.round_to, settings.min_channels), units_of(found.groups)
    by_factor: Callable[[float], Widths] = (
        partial(globally, units, found.scores, rules=rules)
        if settings.ranks_globally
        else partial(uniform, units, rules=rules)
    )
    before, target, reached = widths_of(found.groups), settings.target, None
    if settings.plan is not None:
        wanted = PlanFile.parse(read_yaml(Path(settings.plan)), settings.plan).widths
        after = given(found.groups, found.fixed, wanted, settings.plan)
    elif target is not None:
        say(f"searching for {target}")
        blocks = partial(blocks_between, units, found.scores, rules)
        reached = search(target, by_factor, network.measure_cost(target, model, settings, found), blocks)
        after = reached.widths
    else:
        if not settings.ranks_globally:
            require_minimum(units, settings.share, rules)
        after = by_factor(settings.share)
    if after == before:
        raise ConfigError(
            "nothing would be removed: every layer is as narrow as the minimum, or the factor is too small for a block"
            f" of {settings.round_to} channels. Use a larger --factor, or a smaller --round-to and --min-channels."
        )
    return Plan(before, after, found.fixed, whole_units(units, after, rules)), reached


@dataclass
class _Work:
    """A network on its way to its final widths, and where its steps go."""

    model: Any
    checkpoint: dict[str, Any]
    weights: Path
    retrain: Retrain | None
    say: Say


def _carry_out(work: _Work, settings: PruneSettings, plan: Plan, found: Study) -> Any:
    """Cuts in steps; after each the statistics are re-estimated, between them the caller may train."""
    rules = Rules(settings.round_to, settings.min_channels)
    for step in range(1, settings.iterative + 1):
        if step > 1:
            found = network.study(work.model, settings)
        widths = on_the_way(plan.before, plan.after, step / settings.iterative, rules)
        left = sum(widths.values()) / sum(plan.before.values())
        work.say(f"cutting, step {step} of {settings.iterative}: {left:.1%} of the channels stay")
        network.cut(work.model, settings, found.scores, widths)
        if settings.recalibrates:
            work.say("re-estimating BatchNorm statistics")
            network.recalibrate_on(work.model, settings, settings.recalibration_images)
        if work.retrain is not None and step < settings.iterative:
            _train_between(work, work.retrain, step, settings)
            network.require_widths(work.model, settings, widths)
    return work.model


def _train_between(work: _Work, retrain: Retrain, step: int, settings: PruneSettings) -> None:
    history = {"step": step, "of": settings.iterative}
    saved = save_pruned(work.weights / f"step{step}.pt", work.model, work.checkpoint, history)
    device = next(work.model.parameters()).device
    work.model = load_checkpoint(retrain(saved, step), trust=settings.trust_weights)[0].to(device)


def _measured(model: Any, pruned: Any, settings: PruneSettings, plan: Plan, say: Say) -> PruneResult:
    say("measuring")
    sizes = [measure_size(one, settings.imgsz) for one in (model, pruned)]
    before_ms, after_ms = network.latency_of((model, pruned), settings)
    channels = _channels(model), _channels(pruned)
    return PruneResult(settings, plan, sizes[0], sizes[1], (before_ms, after_ms), channels)


def _channels(model: nn.Module) -> dict[str, int]:
    convs = (nn.Conv2d, nn.ConvTranspose2d)
    return {name: layer.out_channels for name, layer in model.named_modules() if isinstance(layer, convs)}


def _write(result: PruneResult, pruned: Any, checkpoint: dict[str, Any], folder: Path) -> PruneResult:
    """``pruned.pt`` comes last: who finds it finds everything."""
    result = replace(result, path=folder / "weights" / "pruned.pt")
    assert result.path is not None
    write_text(folder / "plan.yaml", plan_text(result))
    write_text(folder / "report.json", report_text(result))
    history = {"settings": result.settings.model_dump(), "widths": dict(result.plan.after)}
    save_pruned(result.path, pruned, checkpoint, history)
    return result


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random importance and RT-DETR's denoising queries repeat; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
