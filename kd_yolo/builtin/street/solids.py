"""Solid bodies from a few numbers: pulled profiles, boxes, posts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from kd_yolo.builtin.street.fills import Fill
from kd_yolo.builtin.street.sketch import Point, Sketch

Corner = tuple[float, float]  # z forward, y up


def prism(sketch: Sketch, profile: Sequence[Corner], half_widths: tuple[float, float], fill: Fill) -> None:
    """A profile pulled across the width; ``half_widths`` hold at its lowest and highest corners."""
    low, high = min(y for _, y in profile), max(y for _, y in profile)

    def at(side: int, corner: Corner) -> Point:
        share = (corner[1] - low) / (high - low)
        return side * (half_widths[0] + (half_widths[1] - half_widths[0]) * share), corner[1], corner[0]

    centre_z, centre_y = np.mean([z for z, _ in profile]), np.mean([y for _, y in profile])
    for first, second in pairwise(profile):
        normal = _outward(first, second, float(centre_z), float(centre_y))
        sketch.face([at(-1, first), at(1, first), at(1, second), at(-1, second)], fill, normal)
    for side in (-1, 1):
        sketch.face([at(side, corner) for corner in profile], fill, (float(side), 0.15, 0.0))


def _outward(first: Corner, second: Corner, centre_z: float, centre_y: float) -> Point:
    """Normal of a profile edge, away from the centre."""
    y, z = second[0] - first[0], -(second[1] - first[1])
    away = (first[0] + second[0]) / 2 - centre_z, (first[1] + second[1]) / 2 - centre_y
    sign = 1.0 if z * away[0] + y * away[1] > 0 else -1.0
    return 0.0, sign * y, sign * z


def box(sketch: Sketch, size: tuple[float, float, float], fill: Fill, base_m: float = 0.0, z_m: float = 0.0) -> None:
    """An upright box: width, height and depth, standing at ``base_m``."""
    width, height, depth = size
    profile = [
        (z_m - depth / 2, base_m),
        (z_m - depth / 2, base_m + height),
        (z_m + depth / 2, base_m + height),
        (z_m + depth / 2, base_m),
    ]
    prism(sketch, profile, (width / 2, width / 2), fill)


def post(
    sketch: Sketch, height: float, radius: float, fill: Fill, x: float = 0.0, base_m: float = 0.0, z: float = 0.0
) -> None:
    """An upright bar."""
    sketch.hull([((x, base_m + radius, z), radius), ((x, base_m + height - radius, z), radius)], fill)
