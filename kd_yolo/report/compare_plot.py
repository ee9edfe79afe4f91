"""Image of a comparison: accuracy over latency, and bars of what is left of the first one's cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from kd_yolo.base.figure import write_figure
from kd_yolo.base.palette import BLUE, GREEN, ORANGE, as_hex

# Okabe and Ito: told apart also by people who see red and green alike
BARS = {"parameters": as_hex(BLUE), "gflops": as_hex(ORANGE), "latency": as_hex(GREEN)}
TITLES = {"parameters": "parameters", "gflops": "GFLOPs", "latency": "latency (p50)"}
# Where a name may stand beside its point, in points: right, left, above, below, then ever further up and down; the
# first place that is free is taken.
PLACES = [(8, 0), (-8, 0), (0, 10), (0, -10)]
PLACES += [(side, row * step) for step in range(11, 100, 11) for row in (1, -1) for side in (12, -12)]


@dataclass(frozen=True)
class Point:
    """One of the weights as it is drawn.

    Attributes:
        name: label.
        p50_ms: median latency.
        p90_ms: 90th percentile of the latency.
        scores: accuracy by its name, the deciding one last; may be empty.
        remain_percent: parameters, gflops and latency in percent of those of the first.
    """

    name: str
    p50_ms: float
    p90_ms: float
    scores: dict[str, float]
    remain_percent: dict[str, float]


def draw_comparison(points: Sequence[Point], path: str | Path, *, caption: str = "") -> Path:
    """Draws the points; without a score that all of them have, the bars alone.

    Returns:
        ``path``.
    """
    common = [name for name in points[0].scores if all(name in point.scores for point in points)]
    columns = 2 if common else 1
    figure = Figure(figsize=(6.4 * columns, max(4.2, 1.4 + 0.62 * len(points))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    _bars(axes[-1], points)
    if caption:
        figure.supxlabel(caption, fontsize=7, color="0.35", wrap=True)
    if common:
        _scatter(axes[0], points, common[-1])
    return write_figure(path, figure)


def _scatter(axis: Axes, points: Sequence[Point], score: str) -> None:
    for index, point in enumerate(points):
        colour = "black" if index == 0 else BARS["parameters"]
        axis.plot([point.p50_ms, point.p90_ms], [point.scores[score]] * 2, color=colour, alpha=0.3, linewidth=1.2)
        axis.plot(point.p50_ms, point.scores[score], "o" if index else "s", color=colour, markersize=6)
    axis.margins(0.18)
    axis.set_ylim(bottom=max(axis.get_ylim()[0], -0.03))  # no score is below 0
    axis.set_xlabel("latency of one image: p50, with a line to p90 (ms)")
    axis.set_ylabel(score)
    axis.set_title("accuracy over latency", fontsize=10, loc="left")
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    _label(axis, points, score)


def _label(axis: Axes, points: Sequence[Point], score: str) -> None:
    """Puts each name beside its point where it covers neither another point nor another name."""
    figure = axis.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # the layout decides where in the image a point is
    taken = [_drawn(axis, point, score) for point in points]
    frame = axis.get_window_extent()
    for point in points:
        for place in PLACES:
            text = _name(axis, point, score, place)
            box = _extent(text)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not box.count_overlaps(taken):
                break
            text.remove()
        else:
            text = _name(axis, point, score, PLACES[0])
        taken.append(_extent(text))


def _extent(text: Annotation) -> Bbox:
    """What the words of a name cover, without its line to the point, in pixels of the image."""
    text.get_window_extent()  # moves the words to their place
    return Text.get_window_extent(text)


def _name(axis: Axes, point: Point, score: str, place: tuple[int, int]) -> Annotation:
    dx, dy = place
    text = axis.annotate(
        point.name,
        (point.p50_ms, point.scores[score]),
        place,
        textcoords="offset points",
        ha="left" if dx > 0 else "right" if dx < 0 else "center",
        va="center",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkB": 4} if abs(dy) > 10 else None,
    )
    text.set_in_layout(False)
    return text


def _drawn(axis: Axes, point: Point, score: str, half_px: float = 5) -> Bbox:
    """What a point and its line to p90 cover, in pixels of the image."""
    left, centre = axis.transData.transform((point.p50_ms, point.scores[score]))
    right = axis.transData.transform((point.p90_ms, point.scores[score]))[0]
    return Bbox.from_extents(left - half_px, centre - half_px, max(right, left + half_px), centre + half_px)


def _bars(axis: Axes, points: Sequence[Point]) -> None:
    thick = 0.8 / len(BARS)
    for place, (key, colour) in enumerate(BARS.items()):
        rows = [index + (place - 1) * thick for index in range(len(points))]
        values = [point.remain_percent[key] for point in points]
        bars = axis.barh(rows, values, thick * 0.92, color=colour, label=TITLES[key])
        axis.bar_label(bars, [f"{value:.0f}" for value in values], padding=3, fontsize=7)
    axis.set_yticks(range(len(points)), [point.name for point in points], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(100, color="0.6", linewidth=0.8, linestyle=":")
    axis.margins(x=0.08)
    axis.set_xlabel(f"percent of {points[0].name}")
    axis.set_title("what is left", fontsize=10, loc="left")
    axis.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.3)
    axis.spines[["top", "right"]].set_visible(False)
