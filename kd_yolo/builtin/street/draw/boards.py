"""Round and flat things at the height of traffic signs."""

from __future__ import annotations

import numpy as np

from kd_yolo.base.rng import Rng, between, pick
from kd_yolo.builtin.street.draw.sign import BLUE, POLE, RED, WHITE, YELLOW, plate
from kd_yolo.builtin.street.fills import Colour, Fill, grey, scaled
from kd_yolo.builtin.street.identity import pick_cloth
from kd_yolo.builtin.street.sketch import Sketch
from kd_yolo.builtin.street.solids import box, post


def draw_cone(sketch: Sketch, _rng: Rng) -> None:
    """A traffic cone."""
    orange: Colour = (40, 100, 225)
    sketch.hull([((0.0, 0.03, 0.0), 0.2), ((0.0, 0.65, 0.0), 0.04)], Fill(orange, WHITE, "stripes", 0.35, 0.3))


def draw_clock(sketch: Sketch, rng: Rng) -> None:
    """A clock on a post."""
    sketch.ordered = True
    height, radius = between(rng, 1.9, 3.2), between(rng, 0.28, 0.45)
    post(sketch, height, 0.05, POLE)
    rim = Fill(pick(rng, (grey(40), RED, BLUE, grey(120))))
    sketch.face(plate((0.0, height, 0.0), radius, 20), rim)
    sketch.face(plate((0.0, height, 0.01), radius * 0.82, 20), Fill(WHITE))
    for length in (0.45, 0.7):
        angle = between(rng, 0, 2 * np.pi)
        tip = radius * length * np.sin(angle), height + radius * length * np.cos(angle), 0.02
        sketch.hull([((0.0, height, 0.02), 0.02), (tip, 0.02)], Fill(grey(30)))


def draw_balloons(sketch: Sketch, rng: Rng) -> None:
    """Balloons on strings."""
    for _ in range(int(rng.integers(1, 4))):
        at, radius = (between(rng, -0.5, 0.5), between(rng, 1.8, 2.8), 0.0), between(rng, 0.18, 0.32)
        colour = pick(rng, (RED, BLUE, YELLOW, WHITE))
        sketch.hull([((0.0, 0.1, 0.0), 0.005), (at, 0.005)], Fill(grey(200)), bias_m=-0.1)
        sketch.hull(
            [(at, radius), ((at[0], at[1] - radius, 0.0), radius * 0.4)],
            Fill(colour, WHITE, pick(rng, ("plain", "band")), radius / 3, 0.3),
        )


def draw_mirror(sketch: Sketch, rng: Rng) -> None:
    """A round traffic mirror."""
    sketch.ordered = True
    height, radius = between(rng, 2.0, 2.8), between(rng, 0.3, 0.45)
    post(sketch, height, 0.05, POLE)
    sketch.face(plate((0.0, height, 0.0), radius, 20), Fill((40, 90, 220)))
    sketch.face(plate((0.0, height, 0.01), radius * 0.86, 20), Fill((190, 180, 165), (105, 110, 112), "split", 0.3))


def draw_advert(sketch: Sketch, rng: Rng) -> None:
    """A board with an advertisement."""
    sketch.ordered = True
    height, width, tall = between(rng, 1.6, 2.6), between(rng, 0.4, 0.8), between(rng, 0.3, 0.7)
    post(sketch, height, 0.05, POLE)
    for share, colour in ((1.0, pick_cloth(rng)), (0.85, pick_cloth(rng))):
        w, h = width * share / 2, tall * share / 2
        corners = [(-w, height - h, 0.0), (w, height - h, 0.0), (w, height + h, 0.0), (-w, height + h, 0.0)]
        sketch.face(corners, Fill(colour, pick_cloth(rng), pick(rng, ("plain", "print", "band", "diagonal")), 0.12))


def draw_traffic_light(sketch: Sketch, rng: Rng) -> None:
    """Traffic lights."""
    sketch.ordered = True
    post(sketch, 2.3, 0.05, POLE)
    box(sketch, (0.3, 0.85, 0.2), Fill(grey(35)), 2.0)
    lit = int(rng.integers(3))
    for index, colour in enumerate(((70, 200, 60), (60, 200, 235), (50, 50, 235))):
        bright = Fill(colour if index == lit else scaled(colour, 0.3))
        sketch.face(plate((0.0, 2.15 + 0.27 * index, 0.11), 0.1, 12), bright, (0.0, 0.0, 1.0))
