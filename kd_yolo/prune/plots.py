"""Figures of pruning: channels by layer, BatchNorm gammas, accuracy from stage to stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.figure import write_figure
from kd_yolo.base.palette import BLUE, VERMILION, as_hex

BEFORE, AFTER, ZERO = "#C8CDD3", as_hex(BLUE), as_hex(VERMILION)
ROW_LAYERS = 48  # bars in one row of the image: their names stay readable
BINS = 60


def draw_channels(before: Mapping[str, int], after: Mapping[str, int], path: str | Path) -> Path:
    """Draws one bar per layer in the order of ``before``: its channels, and how many of them are left.

    Args:
        before: channels by layer name (``model.2.cv1.conv``), in network order.
        after: the same layers.
        path: the PNG.

    Returns:
        ``path``.

    Raises:
        ConfigError: no layers, or not the same ones.
    """
    if not before or before.keys() != after.keys():
        raise ConfigError(
            f"channels before ({len(before)} layers) and after ({len(after)}) are not of the same layers."
        )
    names, num_rows = list(before), math.ceil(len(before) / ROW_LAYERS)
    length = math.ceil(len(names) / num_rows)  # rows of about the same length
    rows = [names[start : start + length] for start in range(0, len(names), length)]
    figure = Figure(figsize=(max(8.0, 0.28 * length + 1), 3.1 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), 1, squeeze=False, sharey=True)[:, 0]
    for axis, row in zip(axes, rows, strict=True):
        _channel_row(axis, row, before, after)
        axis.set_xlim(-0.7, length - 0.3)
    all_before, all_after = sum(before.values()), sum(after.values())
    share = f"{all_after:,} of {all_before:,} channels left in {len(names)} layers, {all_after / all_before:.0%}"
    axes[0].set_title(f"{share}; above a bar: percent left", fontsize=10, loc="left")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return write_figure(path, figure)


def _channel_row(axis: Axes, names: list[str], before: Mapping[str, int], after: Mapping[str, int]) -> None:
    places = range(len(names))
    tops = axis.bar(places, [before[name] for name in names], 0.8, color=BEFORE, label="before")
    axis.bar(places, [after[name] for name in names], 0.8, color=AFTER, label="after")
    left = [f"{100 * after[name] / before[name]:.0f}" if after[name] != before[name] else "" for name in names]
    axis.bar_label(tops, left, fontsize=6, padding=1, color="0.3")
    axis.set_xticks(places, [short_layer(name) for name in names], rotation=90, fontsize=7)
    axis.set_ylabel("channels")
    _plain(axis)


def short_layer(name: str) -> str:
    """``model.2.m.0.cv1.conv`` is ``2.m.0.cv1``: without the parts that every layer has."""
    return name.removeprefix("model.").removesuffix(".conv")


def draw_gammas(gammas: Mapping[str, npt.ArrayLike], path: str | Path) -> Path:
    """Draws a histogram of |gamma| for each entry, one above the other on the same axes.

    Exact zeros have a bar of their own; it is cut off where it would flatten all others. The last bar holds the few
    largest as well, which would stretch the axis.

    Args:
        gammas: BatchNorm scales by title (``before``, ``after``), any shape.
        path: the PNG.

    Returns:
        ``path``.

    Raises:
        ConfigError: nothing to draw.
    """
    sizes = {title: np.abs(np.asarray(values, np.float64)).ravel() for title, values in gammas.items()}
    if not sizes or not all(values.size for values in sizes.values()):
        raise ConfigError("no gammas to draw: the network has no BatchNorm layers, or it is fused.")
    largest = max(float(np.quantile(values, 0.995)) for values in sizes.values()) or 1.0
    edges = np.linspace(0, largest, BINS + 1)
    percent = {title: gamma_percent(values, edges) for title, values in sizes.items()}
    figure = Figure(figsize=(8, 2.3 * len(sizes) + 0.6), layout="constrained")
    axes = figure.subplots(len(sizes), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    axes[0].set_ylim(0, 1.15 * (max(float(values.max()) for values in percent.values()) or 100))
    for axis, (title, values) in zip(axes, sizes.items(), strict=True):
        axis.bar(edges[:-1], percent[title], np.diff(edges), align="edge", color=AFTER)
        _zeros(axis, values, width=float(edges[1]))
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_ylabel("percent")
        _plain(axis)
    axes[-1].set_xlabel(f"|gamma|; the last bar is of all from {edges[-2]:.2g} up")
    return write_figure(path, figure)


def gamma_percent(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Percent of all values in each bin, exact zeros left out, those above the last edge in the last bin."""
    shares: npt.NDArray[np.float64] = np.histogram(values[values > 0].clip(max=edges[-1]), edges)[0] / values.size
    return 100 * shares


def zero_lines(values: npt.NDArray[Any]) -> list[str]:
    """How many of the values are zero, and how many nearly."""
    near = [f"{(values < limit).mean():.1%} are below {limit}" for limit in (0.01, 0.1)]
    return [f"{(values == 0).mean():.1%} are exactly 0", *near]


def _zeros(axis: Axes, values: npt.NDArray[Any], *, width: float) -> None:
    """The bar of exact zeros, left of the histogram, and the shares in words."""
    zeros = float((values == 0).mean())
    axis.bar(-1.5 * width, 100 * zeros, width, color=ZERO)
    axis.text(0.99, 0.95, "\n".join(zero_lines(values)), transform=axis.transAxes, ha="right", va="top", fontsize=9)
    if zeros:
        place = axis.get_xaxis_transform()
        axis.text(-0.7 * width, 0.96, f"0: {zeros:.0%}", transform=place, va="top", fontsize=9, color=ZERO)


def draw_timeline(stages: Sequence[tuple[str, float]], path: str | Path) -> Path:
    """Draws the mAP of each stage, with the first stage's as a dashed line to compare with.

    Args:
        stages: name and mAP50-95 (0..1) of each, in order: base, sparse, pruned, recalibrated, retrained, distilled.
        path: the PNG.

    Returns:
        ``path``.

    Raises:
        ConfigError: no stages.
    """
    if not stages:
        raise ConfigError("no stages to draw: the chain has not measured anything yet.")
    values = [value for _, value in stages]
    figure = Figure(figsize=(max(6.0, 1.25 * len(stages) + 1), 3.8), layout="constrained")
    axis = figure.subplots()
    axis.bar(range(len(values)), values, 0.6, color=[BEFORE, *[AFTER] * (len(values) - 1)])
    axis.axhline(values[0], color="0.4", linewidth=0.9, linestyle="--")
    for place, value in enumerate(values):
        text = f"{value:.3f}\n({value - values[0]:+.3f})" if place else f"{value:.3f}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the dashed line does not cross the numbers
        axis.annotate(text, (place, value), (0, 5), textcoords="offset points", fontsize=8, ha="center", bbox=box)
    axis.set_xticks(range(len(stages)), [name for name, _ in stages], fontsize=9)
    axis.set_xlim(-0.6, len(stages) - 0.4)
    axis.set_ylim(0, 1.25 * (max(values) or 1))
    axis.set_ylabel("mAP50-95")
    axis.set_title(f"mAP50-95 by stage; in brackets: change from {stages[0][0]}", fontsize=10, loc="left")
    _plain(axis)
    return write_figure(path, figure)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="0.92", linewidth=0.6)
    axis.set_axisbelow(True)
