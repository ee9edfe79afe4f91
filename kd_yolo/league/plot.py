"""Image of a league: the mAP of every run, by recipe, and how val rose while they were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kd_yolo.base.figure import write_figure
from kd_yolo.base.palette import BLUE, GREEN, VERMILION, as_hex

DOT, MEAN, NONE, TEACHER = as_hex(BLUE), "black", as_hex(VERMILION), as_hex(GREEN)


def draw_league(
    scores: Mapping[str, Mapping[int, float]],
    path: str | Path,
    *,
    teacher: float | None = None,
    curves: Mapping[str, Sequence[float]] | None = None,
    caption: str = "",
) -> Path:
    """Draws a dot for each run, a bar for each recipe's mean, and lines for ``none`` and the teacher; curves below.

    Args:
        scores: mAP50-95 by recipe, in the order of the image, and seed.
        path: the PNG.
        teacher: its mAP50-95.
        curves: mAP50-95 on val after each epoch by recipe, the mean over its seeds; without them nothing is below.
        caption: what a reader has to know.

    Returns:
        ``path``.
    """
    height = 8.0 if curves else 4.4
    figure = Figure(figsize=(max(5.0, 1.6 + 0.75 * len(scores)), height), layout="constrained")
    axes = figure.subplots(2 if curves else 1, squeeze=False)[:, 0]
    _draw_scores(axes[0], scores, teacher)
    if curves:
        _draw_curves(axes[1], curves)
    if caption:
        figure.supxlabel(caption, fontsize=7, color="0.35", wrap=True)
    return write_figure(path, figure)


def _draw_scores(axis: Axes, scores: Mapping[str, Mapping[int, float]], teacher: float | None) -> None:
    means = {recipe: sum(by_seed.values()) / len(by_seed) for recipe, by_seed in scores.items()}
    for place, (recipe, by_seed) in enumerate(scores.items()):
        step = 0.36 / max(len(by_seed) - 1, 1)
        places = [place + (index - (len(by_seed) - 1) / 2) * step for index in range(len(by_seed))]
        axis.plot(places, list(by_seed.values()), "o", color=DOT, alpha=0.75, markersize=5)
        axis.hlines(means[recipe], place - 0.32, place + 0.32, color=MEAN, linewidth=1.8)
    lines = {"none": (means.get("none"), NONE), "teacher": (teacher, TEACHER)}
    for name, (value, colour) in lines.items():
        if value is not None:
            axis.axhline(value, color=colour, linewidth=1, linestyle="--", label=name)
    axis.set_xticks(range(len(scores)), list(scores), rotation=40, ha="right", fontsize=8)
    axis.set_ylabel("mAP50-95")
    axis.set_title("one dot a seed, bars are means", fontsize=10, loc="left")
    _finish(axis)


def _draw_curves(axis: Axes, curves: Mapping[str, Sequence[float]]) -> None:
    for recipe, curve in curves.items():
        axis.plot(range(1, len(curve) + 1), curve, linewidth=1.2, label=recipe)
    axis.set_xlabel("epoch", fontsize=8)
    axis.set_ylabel("mAP50-95 on val")
    axis.set_title("mean over the seeds: whether longer training would help", fontsize=10, loc="left")
    _finish(axis)


def _finish(axis: Axes) -> None:
    axis.grid(axis="y", color="0.92", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=8, frameon=False, loc="best")
