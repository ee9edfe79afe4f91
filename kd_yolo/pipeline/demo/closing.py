"""The end of the demo: the table, the image of right and wrong boxes, and what was shown and what was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.files import write_json
from kd_yolo.pipeline.demo.train import LOSS, PAIRS, TITLES, TRAIN, Demo, Trained
from kd_yolo.report.compare import compare
from kd_yolo.report.comparison import setup
from kd_yolo.report.right_wrong import draw_right_wrong

ROUNDS = 50
COLUMNS = ("epochs", "cost s", "mAP50-95", "params M", "GFLOPs", "ms p50", "ms p90")
MEASURED = ("parameters", "gflops", "p50_ms", "p90_ms")
DRAWN = ("alone", "distilled", "pruned", "pruned_distilled", "teacher")
IMAGE = "right_wrong.jpg"


@dataclass(frozen=True)
class Gain:
    """What a distilled network has over the same network without a teacher.

    Attributes:
        name: the distilled one.
        equal_epochs: mAP50-95 over that after as many epochs.
        equal_cost: mAP50-95 over that after as much computing.
        gap_share: ``equal_epochs`` as a share of what the teacher has over the network without it.
    """

    name: str
    equal_epochs: float
    equal_cost: float
    gap_share: float


def find_gains(scores: Mapping[str, float]) -> list[Gain]:
    """The gain of the student and of the pruned network.

    Args:
        scores: mAP50-95 by the names of the demo's networks.
    """
    gains = []
    for distilled, plain, longer in PAIRS:
        gain, gap = scores[distilled] - scores[plain], scores["teacher"] - scores[plain]
        gains.append(Gain(distilled, gain, scores[distilled] - scores[longer], gain / gap if gap > 0 else float("nan")))
    return gains


def verdict(gains: Sequence[Gain]) -> list[str]:
    """Lines on what was shown.

    Raises:
        KDYoloError: no gain: distilling was better at equal cost nowhere, or the student is no better at equal epochs.
    """
    lines = []
    for gain in gains:
        better = [f"{gain.equal_epochs:+.3f} at equal epochs ({gain.gap_share:.0%} of the gap to the teacher)"]
        better.append(f"{gain.equal_cost:+.3f} at equal cost{'' if gain.equal_cost > 0 else ': not shown'}")
        lines.append(f"{TITLES[gain.name]}: {', '.join(better)}")
    if gains[0].equal_epochs <= 0 or max(gain.equal_cost for gain in gains) <= 0:
        raise KDYoloError("\n".join(["the demo showed no gain.", *lines]))
    return lines


def measure(demo: Demo, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Counts and times the three networks of a demo on one thread, in ONNX Runtime.

    Returns:
        By the names of all that were trained: those that differ in their weights alone have the same numbers.
    """
    say("timing the networks in ONNX Runtime")
    files = [demo.folder / f"{name}.pt" for name in ("teacher", *(plain for _, plain, _ in PAIRS))]
    teacher, *others = compare(files, imgsz=demo.plan.imgsz, runtime="onnx", rounds=ROUNDS).records()
    found = {name: record for names, record in zip(PAIRS, others, strict=True) for name in names}
    kept = {name: found.get(name, teacher) for name in TITLES}
    return {name: {key: record[key] for key in MEASURED} for name, record in kept.items()}


def closing_table(trained: Sequence[Trained], measured: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table for rich: a row per network."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("network", no_wrap=True)
    for title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for one in trained:
        row = measured[one.name]
        table.add_row(
            TITLES[one.name], str(one.epochs), f"{one.cost_s:.0f}", f"{one.score:.3f}",
            f"{row['parameters'] / 1e6:.2f}", f"{row['gflops']:.3f}", f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}",
        )  # fmt: skip
    return table


def draw(demo: Demo) -> Path:
    """The image of right and wrong boxes."""
    models = [(TITLES[name], demo.folder / f"{name}.pt") for name in DRAWN]
    return draw_right_wrong(models, demo.data, demo.folder / IMAGE, imgsz=demo.plan.imgsz)


def keep(demo: Demo, trained: Sequence[Trained], measured: Mapping[str, Mapping[str, Any]]) -> list[Gain]:
    """Writes ``demo.json``: everything that the table shows, on what it was measured, and the gains."""
    rows = {one.name: {**asdict(one), **measured[one.name]} for one in trained}
    gains = find_gains({one.name: one.score for one in trained})
    body: dict[str, Any] = {
        "plan": asdict(demo.plan),
        "loss": LOSS,
        "train": TRAIN,
        "setup": setup(),
        "rows": rows,
    }
    write_json(demo.folder / "demo.json", {**body, "gains": [asdict(gain) for gain in gains]})
    return gains
