"""Traffic signs. The plate is the object: its pole is outside the box, and a plate seen from behind does not count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd_yolo.base.rng import Rng, between, pick
from kd_yolo.builtin.street.fills import Colour, Fill, grey
from kd_yolo.builtin.street.sketch import Point, Sketch

RED: Colour = (45, 40, 190)
BLUE: Colour = (160, 90, 30)
WHITE: Colour = (225, 228, 228)
YELLOW: Colour = (50, 190, 225)
BLACK: Colour = (25, 25, 25)
POLE = Fill(grey(125), roundness=0.4)


@dataclass(frozen=True)
class SignLook:
    """A sign's lasting looks.

    Args:
        kind: "limit", "no_entry", "warning", "stop", "order", "info", "yield" or "priority".
        radius_m: half the width of the plate.
        height_m: height of its centre.
        symbol: number of the drawing on it.
        reversed: the camera sees its grey back.
    """

    kind: str
    radius_m: float
    height_m: float
    symbol: int
    reversed: bool = False


SIGN_KINDS = ("limit", "no_entry", "warning", "stop", "order", "info", "yield", "priority")


def sample_sign(rng: Rng) -> SignLook:
    """A random sign."""
    height_m = pick(rng, (between(rng, 1.9, 2.7), between(rng, 0.8, 1.3)), (0.85, 0.15))
    return SignLook(pick(rng, SIGN_KINDS), between(rng, 0.28, 0.45), height_m, int(rng.integers(8)))


def plate(centre: Point, radius: float, sides: int, start: float = 0.0, lift_m: float = 0.0) -> list[Point]:
    """Corners of a regular plate that faces forward; ``start`` turns it (radians, 0 has a corner on top)."""
    angle = start + np.linspace(0, 2 * np.pi, sides, endpoint=False)
    x, y, z = centre
    return [(x + radius * float(np.sin(a)), y + radius * float(np.cos(a)), z + lift_m) for a in angle]


# sides, turn, outer colour, inner colour, inner radius as a share
_PLATES: dict[str, tuple[int, float, Colour, Colour, float]] = {
    "limit": (20, 0.0, RED, WHITE, 0.76),
    "no_entry": (20, 0.0, WHITE, RED, 0.94),
    "warning": (3, 0.0, RED, WHITE, 0.7),
    "stop": (8, np.pi / 8, WHITE, RED, 0.92),
    "order": (20, 0.0, WHITE, BLUE, 0.94),
    "info": (4, np.pi / 4, WHITE, BLUE, 0.92),
    "yield": (3, np.pi, RED, WHITE, 0.62),
    "priority": (4, 0.0, WHITE, YELLOW, 0.75),
}


def draw_sign(sketch: Sketch, look: SignLook) -> None:
    """Draws the pole, which is not labelled, and the plate, which is."""
    sketch.ordered = True
    centre = (0.0, look.height_m, 0.0)
    sketch.labelled = False
    sketch.hull([((0.0, 0.0, -0.03), 0.035), ((0.0, look.height_m + 0.1, -0.03), 0.035)], POLE)
    sketch.labelled = not look.reversed
    sides, turn, outer, inner, share = _PLATES[look.kind]
    if look.reversed:
        sketch.face(plate(centre, look.radius_m, sides, turn), Fill(grey(135), grey(110), "split", 0.2))
        return
    sketch.face(plate(centre, look.radius_m, sides, turn), Fill(outer))
    sketch.face(plate(centre, look.radius_m * share, sides, turn), Fill(inner))
    _symbol(sketch, look, (BLACK if inner in (WHITE, YELLOW) else WHITE))


def _symbol(sketch: Sketch, look: SignLook, ink: Colour) -> None:
    """What is drawn on the plate, as bars in units of its radius."""
    bars: dict[str, list[tuple[float, float, float, float]]] = {
        "no_entry": [(0.0, 0.0, 0.65, 0.16)],
        "stop": [(x, 0.0, 0.11, 0.24) for x in (-0.5, -0.17, 0.17, 0.5)],
        "yield": [],
        "priority": [],
        "warning": [(0.0, 0.05, 0.08, 0.22), (0.0, -0.27, 0.08, 0.07)],
        "limit": [(-0.22, 0.0, 0.1 + 0.02 * (look.symbol % 4), 0.34), (0.22, 0.0, 0.16, 0.34)],
        "order": [(0.0, -0.1, 0.1, 0.45), (0.15 * (look.symbol % 3 - 1), 0.3, 0.35, 0.12)],
        "info": [(-0.12, 0.0, 0.09, 0.45), (0.08, 0.22, 0.2, 0.2)],
    }
    for x, y, half_w, half_h in bars[look.kind]:
        r, z = look.radius_m, 0.01
        corners = [
            (x - half_w, y - half_h),
            (x + half_w, y - half_h),
            (x + half_w, y + half_h),
            (x - half_w, y + half_h),
        ]
        sketch.face([(r * u, look.height_m + r * v, z) for u, v in corners], Fill(ink))
