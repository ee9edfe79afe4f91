"""Edges to strokes: straight or with a corner, dashed or not, with an arrowhead."""

from __future__ import annotations

import numpy as np

from kd_yolo.base.rng import Rng, between, chance
from kd_yolo.builtin.diagram.handwriting import text_line
from kd_yolo.builtin.diagram.pen import Points, Stroke, by_hand, dashed, loop, points
from kd_yolo.builtin.diagram.style import Style
from kd_yolo.builtin.diagram.tree import CLASS_OF_KIND, Edge, Node, Rect


def arrow(edge: Edge, nodes: tuple[Node, ...], rng: Rng, style: Style) -> list[Stroke]:
    """The strokes of an edge, now and then with a word beside it."""
    source, target = nodes[edge.source], nodes[edge.target]
    path = by_hand(_route(source.rect, target.rect, edge.kind, rng), rng, style.wobble)
    shaft = Stroke(path, width=0.9)
    filled = style.filled_arrows and edge.kind != "data"
    strokes = dashed(shaft, 6.0, 4.0) if edge.kind != "flow" else [shaft]
    strokes += _head(path, rng, filled=filled)
    if edge.kind == "message":
        strokes.append(loop((float(path[0][0]), float(path[0][1])), (2.5, 2.5), rng, 0.3))
    if CLASS_OF_KIND[source.kind] == "gateway" and chance(rng, 0.45):
        x, y = path[len(path) // 2]
        strokes += text_line(rng, (float(x), float(y) - 7), between(rng, 12, 30), style.text_height * 0.8)
    return strokes


def _route(source: Rect, target: Rect, kind: str, rng: Rng) -> Points:
    """Corner points from border to border."""
    (ax, ay), (bx, by) = _middle(source), _middle(target)
    leave_x, leave_y = (source[2] if ax < bx else source[0]), (source[3] if ay < by else source[1])
    reach_x, reach_y = (target[0] if ax < bx else target[2]), (target[1] if ay < by else target[3])
    if kind == "message":  # straight to the pool
        across = target[0] < ax < target[2]
        return points((ax, leave_y), (ax, reach_y)) if across else points((leave_x, ay), (reach_x, ay))
    if min(abs(ay - target[1]), abs(ay - target[3])) > 2 and target[1] < ay < target[3]:
        return points((leave_x, ay), (reach_x, ay + (by - ay) * between(rng, 0, 1)))
    if target[0] - 4 < ax < target[2] + 4:
        return points((ax, leave_y), (ax + (bx - ax) * between(rng, 0.2, 1), reach_y))
    if kind == "data" or chance(rng, 0.2) or target[1] - 4 < ay < target[3] + 4:
        return points(_towards(source, (bx, by)), _towards(target, (ax, ay)))
    if chance(rng, 0.5):
        return points((leave_x, ay), (bx, ay), (bx, reach_y))
    return points((ax, leave_y), (ax, by), (reach_x, by))


def _middle(rect: Rect) -> tuple[float, float]:
    return (rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2


def _towards(rect: Rect, goal: tuple[float, float]) -> tuple[float, float]:
    """Where a straight line from the middle to ``goal`` leaves the rectangle."""
    x, y = _middle(rect)
    dx, dy = goal[0] - x, goal[1] - y
    scale = min(
        (rect[2] - rect[0]) / 2 / abs(dx) if dx else np.inf,
        (rect[3] - rect[1]) / 2 / abs(dy) if dy else np.inf,
    )
    return x + dx * min(scale, 1.0), y + dy * min(scale, 1.0)


def _head(path: Points, rng: Rng, *, filled: bool) -> list[Stroke]:
    """An arrowhead at the path's end."""
    back = path[-1] - path[max(0, len(path) - 3)]
    angle = float(np.arctan2(back[1], back[0]))
    size, tip = between(rng, 5, 8), path[-1]
    spread = between(rng, 0.4, 0.6)
    wings = [tip - size * np.array([np.cos(angle + turn), np.sin(angle + turn)]) for turn in (-spread, spread)]
    head = np.stack([wings[0], tip, wings[1]])
    return [Stroke(head, width=0.9, filled=filled)]
