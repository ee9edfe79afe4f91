"""Bicycles, and the motor scooters that look like them but do not count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.fills import Colour, Fill, grey, scaled, varied
from kd_yolo.builtin.street.identity import CLOTHES
from kd_yolo.builtin.street.pose import SADDLE_M
from kd_yolo.builtin.street.sketch import Point, Sketch, circle

_DARK = Fill(grey(30))


@dataclass(frozen=True)
class CycleLook:
    """A bicycle's or scooter's lasting looks.

    Args:
        paint: frame colour.
        step_through: low frame without a top bar.
        basket: "none", "front" or "rear".
        steer: angle of the front wheel and handlebar, drawn as a shift of the bar in metres.
        wheel_m: wheel radius.
    """

    paint: Colour
    step_through: bool
    basket: str
    steer: float
    wheel_m: float


def sample_cycle(rng: Rng) -> CycleLook:
    """A random bicycle."""
    paint = varied(rng, pick(rng, CLOTHES))
    basket = pick(rng, ("none", "front", "rear"), (5, 2, 1))
    return CycleLook(paint, chance(rng, 0.4), basket, between(rng, -0.12, 0.12), between(rng, 0.29, 0.35))


def draw_bicycle(sketch: Sketch, look: CycleLook) -> None:
    """Draws a bicycle; forward is its front wheel."""
    radius, frame = look.wheel_m, Fill(look.paint, roundness=0.1)
    rear, front = (0.0, radius, -0.52), (0.0, radius, 0.53)
    pedals, seat, head = (0.0, 0.28, -0.08), (0.0, 0.78, -0.22), (0.0, 0.82, 0.36)
    for hub in (rear, front):
        sketch.ring(hub, radius, 0.035, _DARK)
        _spokes(sketch, hub, radius)
    top = (0.0, 0.5, -0.17) if look.step_through else seat
    bars = [(rear, pedals), (rear, seat), (pedals, seat), (pedals, head), (top, head), (head, front)]
    for start, end in bars:
        sketch.hull([(start, 0.02), (end, 0.02)], frame, bias_m=0.02)
    _bar(sketch, seat, (0.0, SADDLE_M - 0.05, -0.24), 0.016)
    sketch.hull([((0.0, SADDLE_M - 0.02, -0.34), 0.05), ((0.0, SADDLE_M - 0.02, -0.12), 0.025)], _DARK, bias_m=0.03)
    stem = (0.0, 1.02, 0.32)
    _bar(sketch, head, stem, 0.016)
    for side in (-1, 1):
        _bar(sketch, stem, (side * 0.26, 1.05, 0.36 + side * look.steer), 0.018)
    sketch.hull([(pedals, 0.09)], Fill(grey(90)), bias_m=0.03)
    _baskets(sketch, look)


def _bar(sketch: Sketch, start: Point, end: Point, radius: float) -> None:
    sketch.hull([(start, radius), (end, radius)], _DARK, bias_m=0.02)


def _spokes(sketch: Sketch, hub: Point, radius: float) -> None:
    if sketch.view.px_per_m * radius < 14:  # a few pixels: spokes would fill the wheel
        return
    for angle in np.linspace(0, np.pi, 5, endpoint=False):
        y, z = 0.88 * radius * float(np.sin(angle)), 0.88 * radius * float(np.cos(angle))
        ends = [((0.0, hub[1] + s * y, hub[2] + s * z), 0.003) for s in (-1, 1)]
        sketch.hull(ends, Fill(grey(150)))


def _baskets(sketch: Sketch, look: CycleLook) -> None:
    if look.basket == "none":
        return
    z, y = (0.58, 0.8) if look.basket == "front" else (-0.55, 0.75)
    wicker = Fill((70, 110, 150), (40, 70, 100), "check", 0.06)
    sketch.cloud(
        [(x, y + h, z + d) for x in (-0.16, 0.16) for h in (0, 0.22) for d in (-0.12, 0.12)], wicker, bias_m=0.04
    )


def draw_scooter(sketch: Sketch, look: CycleLook) -> None:
    """Draws a motor scooter: two small fat wheels, a shell and a seat instead of a frame."""
    shell, dark = Fill(look.paint, scaled(look.paint, 0.7), "split", 0.3), Fill(grey(40))
    for z in (-0.5, 0.55):
        sketch.cloud(np.concatenate([circle((x, 0.24, z), 0.24) for x in (-0.06, 0.06)]), _DARK)
        sketch.hull([((0.0, 0.24, z), 0.1)], Fill(grey(140)), bias_m=0.08)
    tail = [((0.0, 0.42, -0.6), 0.14), ((0.0, 0.6, -0.15), 0.12), ((0.0, 0.34, -0.1), 0.1)]
    sketch.hull(tail, shell, bias_m=0.1)
    sketch.hull([((0.0, 0.28, -0.1), 0.07), ((0.0, 0.28, 0.32), 0.07)], dark, bias_m=0.08)
    sketch.hull([((x, y, z), 0.06) for x in (-0.14, 0.14) for y, z in ((0.4, 0.4), (0.88, 0.3))], shell, bias_m=0.1)
    sketch.hull([((0.0, 0.9, 0.32), 0.1)], Fill(grey(170)), bias_m=0.12)
    sketch.hull([((0.0, 0.76, -0.5), 0.07), ((0.0, 0.74, -0.05), 0.06)], _DARK, bias_m=0.12)
    for side in (-1, 1):
        _bar(sketch, (0.0, 0.96, 0.3), (side * 0.3, 1.0, 0.24 + side * look.steer), 0.025)
