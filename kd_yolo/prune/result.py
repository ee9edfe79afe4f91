"""What a pruning did: as lines for people, as ``plan.yaml`` and as ``report.json``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from kd_yolo.config.prune import PruneSettings
from kd_yolo.prune.plan import Plan
from kd_yolo.prune.target import Reached
from kd_yolo.yolo.measure import Latency, Size


@dataclass(frozen=True)
class PruneResult:
    """What a pruning did.

    Attributes:
        settings: what was asked for.
        plan: widths before and after, and what was left whole.
        before, after: size of the network.
        latency: of one image, before and after.
        channels: outputs of every conv by its name, before and after.
        notes: what a user should know, one line each.
        reached: with a target, what the search found.
        path: ``pruned.pt``; None for a dry run.
    """

    settings: PruneSettings
    plan: Plan
    before: Size
    after: Size
    latency: tuple[Latency, Latency]
    channels: tuple[Mapping[str, int], Mapping[str, int]]
    notes: tuple[str, ...] = ()
    reached: Reached | None = None
    path: Path | None = None

    def lines(self) -> list[str]:
        """The summary."""
        return [*_asked(self), *_table(self), *_left_whole(self.plan), *(f"note: {note}" for note in self.notes)]

    def plan_rows(self) -> list[tuple[str, int, int, str]]:
        """Layer, channels before and after, and why it keeps all of them; groups in network order, then the rest."""
        plan = self.plan
        rows = [(name, plan.before[name], plan.after[name], plan.whole.get(name, "")) for name in plan.before]
        before = self.channels[0]
        return rows + [(name, before[name], before[name], why) for name, why in plan.fixed.items() if name in before]


def _asked(result: PruneResult) -> Iterator[str]:
    settings, plan = result.settings, result.plan
    how = f"{settings.criterion}, {'all layers ranked together' if settings.ranks_globally else 'layer by layer'}"
    share = f"{plan.removed_share:.1%} of the channels of {len(plan.before)} groups removed ({how})"
    if settings.target is not None and result.reached is not None:
        target, reached = settings.target, result.reached
        ratio = f"{reached.value / reached.whole:.3g} of {target.show(reached.whole)}"
        yield f"{target}: reached {target.show(reached.value)}, {ratio}"
        yield share
    elif settings.plan is not None:
        yield f"{settings.plan}: {share}"
    else:
        yield f"factor {settings.share:g}: {share}"


def _table(result: PruneResult) -> Iterator[str]:
    """Before, after and what went, in numbers."""
    before, after, imgsz = result.before, result.after, result.settings.imgsz
    rows: list[tuple[str, float, float, str]] = [
        ("M parameters", before.parameters / 1e6, after.parameters / 1e6, ".3f"),
        (f"GFLOPs at {imgsz} px", before.gflops, after.gflops, ".3f"),
    ]
    if _has_two_branches(before):
        rows += [
            ("M parameters, deployed", before.deployed_parameters / 1e6, after.deployed_parameters / 1e6, ".3f"),
            ("GFLOPs, deployed", before.deployed_gflops, after.deployed_gflops, ".3f"),
        ]
    times = result.latency
    rows.append((f"ms per image ({result.settings.runtime}, CPU)", times[0].p50_ms, times[1].p50_ms, ".1f"))
    for name, old, new, form in rows:
        yield f"  {name:26} {old:>10{form}} -> {new:>10{form}}   {1 - new / old:6.1%} less"


def _has_two_branches(size: Size) -> bool:
    """End-to-end heads (v10, 26) lose a branch when deployed; fusing alone takes a percent or two."""
    return size.deployed_parameters < 0.95 * size.parameters


def _left_whole(plan: Plan) -> Iterator[str]:
    reasons = Counter(why.partition(" (model.")[0] for why in [*plan.fixed.values(), *plan.whole.values()])
    if reasons:
        shown = ", ".join(f"{count} ({why})" for why, count in reasons.most_common())
        yield f"left whole: {shown}"


def plan_text(result: PruneResult) -> str:
    """``plan.yaml``, as ``--plan`` takes it."""
    return plan_yaml(result.settings.model, result.plan.after)


def plan_yaml(model: str, widths: Mapping[str, int]) -> str:
    """A plan file."""
    body = yaml.safe_dump({"model": model, "widths": dict(widths)}, sort_keys=False, allow_unicode=True)
    return f"# kd-yolo prune --model {model} --plan plan.yaml\n{body}"


def report_text(result: PruneResult) -> str:
    """``report.json``: all numbers."""
    plan, reached = result.plan, result.reached
    sides = [
        {**asdict(size), "latency_ms": asdict(latency), "channels": dict(channels)}
        for size, latency, channels in zip((result.before, result.after), result.latency, result.channels, strict=True)
    ]
    removed = {key: 1 - sides[1][key] / sides[0][key] for key in asdict(result.before) if key != "layers"}
    body: dict[str, Any] = {
        "settings": result.settings.model_dump(),
        "importance": result.settings.criterion,
        "before": sides[0],
        "after": sides[1],
        "removed": {"channels": plan.removed_share, **removed},
        "target": None if reached is None else {"reached": reached.value, "unpruned": reached.whole},
        "plan": {name: [width, plan.after[name]] for name, width in plan.before.items()},
        "whole": {**plan.fixed, **plan.whole},
        "notes": list(result.notes),
    }
    return json.dumps(body, indent=1) + "\n"
