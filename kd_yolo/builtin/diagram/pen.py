"""A hand's lines: what is meant to be straight or round, and comes out a little otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between

Points = npt.NDArray[np.float64]  # (n, 2), in page units: the page is 640 x 480
_STEP = 4.0  # length after which the hand wavers again
_KERNEL = np.array([1, 2, 3, 4, 3, 2, 1]) / np.sqrt(44.0)  # keeps the variance of white noise


@dataclass(frozen=True)
class Stroke:
    """One movement of the pen.

    Args:
        points: its path.
        width: times the pen's own.
        filled: the area inside is inked.
    """

    points: Points
    width: float = 1.0
    filled: bool = False


def points(*pairs: tuple[float, float]) -> Points:
    """A path through the given points."""
    return np.array(pairs, np.float64)


def by_hand(path: Points, rng: Rng, wobble: float) -> Points:
    """A path as a hand draws it: slow wavering and, on long lines, a slight bow; corners and ends stay about in place.

    Args:
        path: corner points (n,2).
        rng: random numbers.
        wobble: standard deviation of the wavering in page units.
    """
    lengths = np.hypot(*np.diff(path, axis=0).T)
    marks = np.concatenate([[0.0], np.cumsum(lengths)])
    total = float(marks[-1])
    if total < 1e-6:
        return path
    at = np.union1d(np.linspace(0, total, max(2, round(total / _STEP) + 1)), marks)
    line = np.stack([np.interp(at, marks, path[:, i]) for i in (0, 1)], 1)
    noise = np.stack([np.convolve(rng.normal(size=len(at) + 6), _KERNEL, "valid") for _ in (0, 1)], 1)
    direction = (path[-1] - path[0]) / max(total, 1.0)
    bow = np.sin(np.pi * at / total)[:, None] * (-direction[1], direction[0])
    return np.asarray(line + noise * wobble + bow * (rng.normal() * wobble * min(4.0, total / 60.0)))


def line(
    start: tuple[float, float], end: tuple[float, float], rng: Rng, wobble: float, overshoot: float = 0.0
) -> Stroke:
    """A straight stroke whose ends may be too long or too short."""
    path = points(start, end)
    direction = (path[1] - path[0]) / max(float(np.hypot(*(path[1] - path[0]))), 1e-6)
    path[0] -= direction * rng.normal() * overshoot
    path[1] += direction * rng.normal() * overshoot
    return Stroke(by_hand(path, rng, wobble))


def loop(centre: tuple[float, float], radii: tuple[float, float], rng: Rng, wobble: float) -> Stroke:
    """A closed round stroke: not quite an ellipse, its end runs past its start."""
    start, past = between(rng, -2.2, -0.9), between(rng, 0.05, 0.5)
    angle = np.linspace(start, start + 2 * np.pi + past, 28)
    waver = sum(
        rng.normal() * wobble * 0.6 / k * np.sin(k * angle + between(rng, 0, 6.3)) for k in (1, 2, 3)
    ) + np.linspace(0, rng.normal() * wobble, 28)
    ring = np.stack([np.cos(angle) * (radii[0] + waver), np.sin(angle) * (radii[1] + waver)], 1)
    return Stroke(np.asarray(ring + centre))


def dashed(stroke: Stroke, dash: float, gap: float) -> list[Stroke]:
    """A stroke cut into dashes."""
    lengths = np.hypot(*np.diff(stroke.points, axis=0).T)
    marks = np.concatenate([[0.0], np.cumsum(lengths)])
    starts = np.arange(0, marks[-1], dash + gap)
    parts = []
    for start in starts:
        at = np.linspace(start, min(start + dash, marks[-1]), 3)
        path = np.stack([np.interp(at, marks, stroke.points[:, i]) for i in (0, 1)], 1)
        parts.append(replace(stroke, points=path))
    return parts


def scrawl(centre: tuple[float, float], size: tuple[float, float], rng: Rng) -> Stroke:
    """A dense zigzag, as over something crossed out."""
    turns = int(rng.integers(9, 17))
    along = np.linspace(-0.5, 0.5, turns) + rng.normal(0, 0.03, turns)
    across = np.where(np.arange(turns) % 2, 0.5, -0.5) + rng.normal(0, 0.1, turns)
    return Stroke(np.stack([along * size[0], across * size[1]], 1) + centre, width=1.2)


def box_of(strokes: list[Stroke]) -> tuple[float, float, float, float]:
    """The smallest box around strokes, x0, y0, x1, y1."""
    every = np.concatenate([stroke.points for stroke in strokes])
    (x0, y0), (x1, y1) = every.min(0), every.max(0)
    return float(x0), float(y0), float(x1), float(y1)
