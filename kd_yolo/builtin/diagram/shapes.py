"""Nodes to strokes. The outline gives the box; names and marks are beside or inside and do not count."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from kd_yolo.base.rng import Rng, between, chance
from kd_yolo.builtin.diagram.handwriting import text_line
from kd_yolo.builtin.diagram.pen import Points, Stroke, by_hand, line, loop, points
from kd_yolo.builtin.diagram.style import Style
from kd_yolo.builtin.diagram.tree import CLASS_OF_KIND, Node, Rect

Outline = Callable[[Rect, Rng, Style], list[Stroke]]


def outline(node: Node, rng: Rng, style: Style) -> list[Stroke]:
    """What the box of a node surrounds."""
    return _OUTLINES[node.kind](node.rect, rng, style)


def details(node: Node, rng: Rng, style: Style) -> list[Stroke]:
    """Marks inside and the name."""
    kind, rect = node.kind, node.rect
    if kind in ("pool", "lane"):
        return _header(node, rng, style)
    if kind in ("task", "collapsed"):
        return _lines_of_text(rect, rng, style) + (_plus_box(rect, rng, style) if kind == "collapsed" else [])
    if kind == "subprocess":
        x, y = rect[0] + (rect[2] - rect[0]) * 0.3, rect[1] + style.text_height * 1.6
        return text_line(rng, (x, y), (rect[2] - rect[0]) * 0.5, style.text_height, slant=style.slant)
    marks = _MARKS[kind](rect, rng, style) if kind in _MARKS else []
    if kind == "annotation":
        return marks
    below = (rect[0] + rect[2]) / 2 + rng.normal() * 3, rect[3] + style.text_height * 1.7
    named = chance(rng, 0.35 if CLASS_OF_KIND[kind] == "gateway" else 0.7)
    width = between(rng, 25, 60)
    return marks + (text_line(rng, below, width, style.text_height * 0.9, slant=style.slant) if named else [])


def _frame(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """Four sides, drawn one by one."""
    x0, y0, x1, y1 = rect
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    jitter = [(x + rng.normal() * style.wobble, y + rng.normal() * style.wobble) for x, y in corners]
    return [line(start, end, rng, style.wobble, 1.2 * style.wobble) for start, end in pairwise(jitter)]


def _task(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """A box in one stroke, with rounded corners or without."""
    x0, y0, x1, y1 = rect
    if style.sharp:
        return [Stroke(by_hand(points((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0 - 1)), rng, style.wobble))]
    r = min(x1 - x0, y1 - y0) * between(rng, 0.12, 0.28)
    bend = np.linspace(0, np.pi / 2, 4)
    path: list[tuple[float, float]] = []
    for (x, y), turn in zip(
        ((x1 - r, y0 + r), (x1 - r, y1 - r), (x0 + r, y1 - r), (x0 + r, y0 + r)), range(4), strict=True
    ):
        angle = bend - np.pi / 2 + turn * np.pi / 2
        path += [(x + r * float(np.cos(a)), y + r * float(np.sin(a))) for a in angle]
    path.append((path[0][0] + between(rng, 0, 4), path[0][1]))
    return [Stroke(by_hand(np.array(path), rng, style.wobble))]


def _circle(rect: Rect, rng: Rng, style: Style, width: float = 1.0, shrink: float = 0.0) -> Stroke:
    x0, y0, x1, y1 = rect
    radii = (x1 - x0) / 2 - shrink, (y1 - y0) / 2 - shrink
    ring = loop(((x0 + x1) / 2, (y0 + y1) / 2), radii, rng, style.wobble)
    return Stroke(ring.points, width)


def _end(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """A ring drawn over and over."""
    return [_circle(rect, rng, style, width=1.5, shrink=shrink) for shrink in (0.0, 0.8, 1.6)]


def _diamond(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    x0, y0, x1, y1 = rect
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return [Stroke(by_hand(points((x, y0), (x1, y), (x, y1), (x0, y), (x + 1, y0 - 1)), rng, style.wobble))]


def _paper(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """A sheet with a folded corner."""
    x0, y0, x1, y1 = rect
    fold = (x1 - x0) * between(rng, 0.3, 0.42)
    edge = points((x1 - fold, y0), (x0, y0), (x0, y1), (x1, y1), (x1, y0 + fold), (x1 - fold, y0))
    corner = points((x1 - fold, y0), (x1 - fold, y0 + fold), (x1, y0 + fold))
    return [Stroke(by_hand(path, rng, style.wobble * 0.8)) for path in (edge, corner)]


def _store(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """A barrel."""
    x0, y0, x1, y1 = rect
    rx, ry = (x1 - x0) / 2, (y1 - y0) * between(rng, 0.13, 0.2)
    x = (x0 + x1) / 2
    lid = loop((x, y0 + ry), (rx, ry), rng, style.wobble * 0.6)
    body = [_arc(x, y1 - ry, rx, ry)] + [_arc(x, y0 + ry + (y1 - y0) * share, rx, ry) for share in (0.12, 0.24)]
    sides = [line((side, y0 + ry), (side, y1 - ry), rng, style.wobble * 0.6, 0.5) for side in (x0, x1)]
    return [lid, *sides, *(Stroke(by_hand(path, rng, style.wobble * 0.6)) for path in body)]


def _arc(x: float, y: float, rx: float, ry: float) -> Points:
    """The lower half of an ellipse."""
    angle = np.linspace(0, np.pi, 10)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def _annotation(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """A bracket with text behind it, which belongs to it."""
    x0, y0, x1, y1 = rect
    bracket = Stroke(by_hand(points((x0 + 6, y0), (x0, y0), (x0, y1), (x0 + 6, y1)), rng, style.wobble))
    return [bracket, *_lines_of_text((x0 + 4, y0, x1, y1), rng, style, fill=1.0)]


_OUTLINES: dict[str, Outline] = {
    "pool": _frame,
    "lane": _frame,
    "task": _task,
    "collapsed": _task,
    "subprocess": _task,
    "start": lambda rect, rng, style: [_circle(rect, rng, style)],
    "end": _end,
    "catch": lambda rect, rng, style: [_circle(rect, rng, style), _circle(rect, rng, style, shrink=2.2)],
    "timer": lambda rect, rng, style: [_circle(rect, rng, style), _circle(rect, rng, style, shrink=2.2)],
    "exclusive": _diamond,
    "parallel": _diamond,
    "paper": _paper,
    "store": _store,
    "annotation": _annotation,
}


def _cross(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    x, y, size = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2, (rect[2] - rect[0]) * 0.16
    ends = ((-size, -size), (size, size)), ((size, -size), (-size, size))
    return [line((x + a[0], y + a[1]), (x + b[0], y + b[1]), rng, style.wobble * 0.5, 0.5) for a, b in ends]


def _plus(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    x, y, size = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2, (rect[2] - rect[0]) * 0.2
    ends = ((-size, 0.0), (size, 0.0)), ((0.0, -size), (0.0, size))
    return [line((x + a[0], y + a[1]), (x + b[0], y + b[1]), rng, style.wobble * 0.5, 0.5) for a, b in ends]


def _envelope(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    x, y, half = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2, (rect[2] - rect[0]) * 0.2
    x0, y0, x1, y1 = x - half, y - half * 0.7, x + half, y + half * 0.7
    path = points((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0), (x, y), (x1, y0))
    return [Stroke(by_hand(path, rng, style.wobble * 0.4), width=0.8)]


def _hands(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    x, y, size = (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2, (rect[2] - rect[0]) * 0.24
    return [Stroke(by_hand(points((x, y - size), (x, y), (x + size * 0.8, y)), rng, style.wobble * 0.4))]


_MARKS: dict[str, Outline] = {"exclusive": _cross, "parallel": _plus, "catch": _envelope, "timer": _hands}


def _plus_box(rect: Rect, rng: Rng, style: Style) -> list[Stroke]:
    """The mark of a sub-process that is drawn elsewhere."""
    x, y = (rect[0] + rect[2]) / 2, rect[3] - 5.0
    box = (x - 4.0, y - 4.0, x + 4.0, y + 4.0)
    return _frame(box, rng, style) + _plus((x - 8, y - 8, x + 8, y + 8), rng, style)


def _lines_of_text(rect: Rect, rng: Rng, style: Style, fill: float = 0.8) -> list[Stroke]:
    """As many lines as there is room for, at most three."""
    x0, y0, x1, y1 = rect
    height = min(style.text_height, (y1 - y0) / 3)
    most = max(1, min(3, int((y1 - y0) / (height * 2.6))))
    count = int(rng.integers(1, most + 1)) if fill < 1 else most
    strokes: list[Stroke] = []
    for i in range(count):
        y = (y0 + y1) / 2 + (i - (count - 1) / 2) * height * 2.4
        strokes += text_line(rng, ((x0 + x1) / 2, y), (x1 - x0) * fill, height, slant=style.slant)
    return strokes


def _header(node: Node, rng: Rng, style: Style) -> list[Stroke]:
    """The name of a pool or lane: on its left side from bottom to top, or on top in a diagram that stands."""
    x0, y0, x1, y1 = node.rect
    width = 20.0 if node.kind == "pool" else 18.0
    height = style.text_height * 1.15
    if node.upright:
        middle, length, angle = ((x0 + x1) / 2, y0 + width / 2), x1 - x0, 0.0
        rule = (x0, y0 + width), (x1, y0 + width)
    else:
        middle, length, angle = (x0 + width / 2, (y0 + y1) / 2), y1 - y0, -np.pi / 2
        rule = (x0 + width, y0), (x0 + width, y1)
    name = text_line(rng, middle, min(length * 0.7, 110.0), height, slant=style.slant, angle=angle)
    return name + ([line(*rule, rng, style.wobble, 1.0)] if style.headers else [])
