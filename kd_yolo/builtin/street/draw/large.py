"""Large and wheeled things, like cars and bicycles, and what only stands in the way."""

from __future__ import annotations

import numpy as np

from kd_yolo.base.rng import Rng, between, pick
from kd_yolo.builtin.street.draw.bodies import LEAVES, WOOD
from kd_yolo.builtin.street.draw.car import PAINTS
from kd_yolo.builtin.street.fills import Fill, grey, scaled, varied
from kd_yolo.builtin.street.identity import pick_cloth
from kd_yolo.builtin.street.sketch import Sketch, circle
from kd_yolo.builtin.street.solids import box, post, prism


def draw_bike_rack(sketch: Sketch, rng: Rng) -> None:
    """Hoops to lock bicycles to."""
    for z in np.arange(int(rng.integers(2, 5))) * 0.75:
        sketch.ring((0.0, 0.36, float(z) - 0.75), 0.36, 0.05, Fill(grey(120)))


def draw_trolley(sketch: Sketch, rng: Rng) -> None:
    """A shopping trolley."""
    frame = Fill(grey(150))
    for x in (-0.22, 0.22):
        for z in (-0.35, 0.35):
            sketch.cloud(circle((x, 0.1, z), 0.1), Fill(grey(35)))
        sketch.hull([((x, 0.2, 0.38), 0.02), ((x, 0.95, -0.45), 0.02)], frame)
    cloth = Fill(pick_cloth(rng), pick_cloth(rng), pick(rng, ("check", "plain", "dots")), 0.07)
    basket = [(x, y, z) for x in (-0.24, 0.24) for y, z in ((0.4, -0.4), (0.4, 0.3), (0.85, -0.45), (0.85, 0.45))]
    sketch.cloud(basket, cloth, bias_m=0.1)


def draw_skip(sketch: Sketch, rng: Rng) -> None:
    """A skip on wheels."""
    sketch.ordered = True
    colour = varied(rng, pick(rng, PAINTS))
    half, height = between(rng, 1.2, 2.0), between(rng, 1.0, 1.5)
    for z in (-0.6 * half, 0.6 * half):
        sketch.cloud(np.concatenate([circle((x, 0.2, z), 0.2) for x in (-0.8, 0.8)]), Fill(grey(35)))
    prism(
        sketch,
        [(-half * 0.8, 0.25), (-half, height), (half, height), (half * 0.8, 0.25)],
        (0.7, 0.9),
        Fill(colour, scaled(colour, 0.75), "split", 0.3),
    )
    for side in (-1.0, 1.0):
        panel = [(side * 0.9, y, z) for y, z in ((0.55, -0.5), (0.55, 0.5), (height - 0.2, 0.5), (height - 0.2, -0.5))]
        sketch.face(panel, Fill(scaled(colour, 0.6)), (side, 0.0, 0.0))


def draw_kiosk(sketch: Sketch, rng: Rng) -> None:
    """A kiosk."""
    sketch.ordered = True
    colour = varied(rng, pick(rng, PAINTS))
    length, height = between(rng, 1.6, 3.0), between(rng, 1.4, 2.3)
    box(sketch, (1.5, height, length), Fill(colour), 0.1)
    for side in (-1.0, 1.0):
        pane = [
            (side * 0.76, y, z * length)
            for y, z in ((0.6 * height, -0.4), (0.6 * height, 0.4), (0.9 * height, 0.4), (0.9 * height, -0.4))
        ]
        sketch.face(pane, Fill((92, 78, 62)), (side, 0.0, 0.0))
    box(sketch, (1.7, 0.12, length * 1.1), Fill(scaled(colour, 0.7)), height + 0.1)


def draw_tree(sketch: Sketch, rng: Rng) -> None:
    """A tree."""
    leaf, height = varied(rng, pick(rng, LEAVES), 15), between(rng, 2.2, 4.0)
    post(sketch, height, between(rng, 0.08, 0.16), Fill((45, 62, 80), roundness=0.4))
    for _ in range(9):
        at = between(rng, -0.9, 0.9), height + between(rng, -0.5, 1.2), between(rng, -0.5, 0.5)
        sketch.hull([(at, between(rng, 0.4, 0.8))], Fill(scaled(leaf, between(rng, 0.75, 1.2)), roundness=0.3))


def draw_bench(sketch: Sketch, rng: Rng) -> None:
    """A bench."""
    plank = Fill(varied(rng, WOOD))
    for x in (-0.75, 0.75):
        for z in (-0.2, 0.2):
            post(sketch, 0.44, 0.03, Fill(grey(50)), x, z=z)
    sketch.cloud([(x, y, z) for x in (-0.9, 0.9) for y in (0.4, 0.46) for z in (-0.24, 0.24)], plank)
    sketch.cloud([(x, y, -0.28) for x in (-0.9, 0.9) for y in (0.6, 0.95)], plank)
