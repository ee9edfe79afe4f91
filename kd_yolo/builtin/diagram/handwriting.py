"""What looks like handwriting and says nothing."""

from __future__ import annotations

import numpy as np

from kd_yolo.base.rng import Rng, between, pick
from kd_yolo.builtin.diagram.pen import Points, Stroke

# Letters as the pen's path, x to the right in x-heights, y up from the line.
_LETTERS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0, 0), (0.1, 1), (0.5, 0.9), (0.55, 0)),  # n
    ((0, 1), (0.1, 0.1), (0.5, 0.1), (0.6, 1), (0.65, 0)),  # u
    ((0.5, 0.8), (0.1, 0.9), (0, 0.3), (0.4, 0), (0.6, 0.4), (0.5, 0.9)),  # o
    ((0, 0.5), (0.5, 0.7), (0.3, 1), (0, 0.6), (0.2, 0), (0.6, 0.1)),  # e
    ((0, 0), (0.3, 1.9), (0.15, 2), (0.1, 0.2), (0.4, 0)),  # l
    ((0.5, 0.9), (0.1, 0.9), (0.1, 0.2), (0.5, 0.2), (0.5, 1), (0.45, -0.8), (0.1, -0.8), (0.6, 0.1)),  # g
    ((0, 1.7), (0.1, 0.1), (0.4, 0), (0.2, 1.1), (0.5, 1.1)),  # t
    ((0, 0), (0.1, 1), (0.2, 0.2), (0.4, 1), (0.5, 0.1), (0.7, 1), (0.75, 0)),  # m
    ((0.5, 1), (0.1, 0.9), (0.4, 0.5), (0.4, 0.1), (0, 0)),  # s
    ((0, 1), (0.2, 0), (0.5, 1)),  # v
    ((0, 0), (0.1, 1.9), (0.1, 0.2), (0.5, 0.3), (0.4, 1), (0.1, 0.8)),  # b
    ((0, 1), (0.1, 0), (0.3, 0.2)),  # i
    ((0, 0), (0.1, 1), (0.15, 0.7), (0.5, 1)),  # r
)


def word(rng: Rng, letters: int, height: float, slant: float) -> list[Points]:
    """One word from the origin to the right, y down: a path, or two where the pen was lifted.

    Args:
        rng: random numbers.
        letters: how many.
        height: of a small letter.
        slant: how far letters lean right, as a share of their height.
    """
    paths: list[list[tuple[float, float]]] = [[]]
    x = 0.0
    for _ in range(letters):
        letter = np.array(pick(rng, _LETTERS), np.float64) * (between(rng, 0.85, 1.15), between(rng, 0.85, 1.15))
        letter += rng.normal(0, 0.05, letter.shape)
        paths[-1] += [(float(u + slant * v) + x, float(v)) for u, v in letter]
        x += float(letter[:, 0].max()) + between(rng, 0.15, 0.35)
        if rng.random() < 0.3:
            paths.append([])
    return [_smooth(np.array(path)) * (height, -height) for path in paths if len(path) > 1]


def _smooth(path: Points) -> Points:
    """Corners cut off once, after Chaikin."""
    first, second = path[:-1] * 0.75 + path[1:] * 0.25, path[:-1] * 0.25 + path[1:] * 0.75
    return np.concatenate([path[:1], np.stack([first, second], 1).reshape(-1, 2), path[-1:]])


def text_line(
    rng: Rng, centre: tuple[float, float], width: float, height: float, *, slant: float = 0.15, angle: float = 0.0
) -> list[Stroke]:
    """One line of words.

    Args:
        rng: random numbers.
        centre: of the line.
        width: about how long it gets at most.
        height: of a small letter.
        slant: how far letters lean right.
        angle: direction in radians, 0 to the right, pi/2 down.
    """
    paths: list[Points] = []
    x = 0.0
    while not paths or x < width - 3.5 * height:
        room = int((width - x) / (0.8 * height))
        letters = int(np.clip(rng.integers(3, 9), 2, max(2, room)))
        written = word(rng, letters, height, slant)
        paths += [path + np.array([x, 0.0]) for path in written]
        x = max(float(path[:, 0].max()) for path in paths) + 0.9 * height
        if rng.random() < 0.25:
            break
    middle = np.array([(x - 0.9 * height) / 2, -height / 2])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [Stroke((path - middle) @ turn + centre, width=0.6) for path in paths]
