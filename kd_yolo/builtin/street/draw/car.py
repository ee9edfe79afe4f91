"""Cars: a body and a cabin, each a side profile pulled across the width, so that every viewpoint is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.fills import Colour, Fill, grey, scaled, varied
from kd_yolo.builtin.street.sketch import Point, Sketch, circle
from kd_yolo.builtin.street.solids import Corner, prism

PAINTS: tuple[Colour, ...] = (
    (35, 35, 38), (90, 90, 92), (160, 160, 165), (215, 215, 218),
    (120, 60, 30), (40, 40, 165), (60, 100, 50), (60, 160, 205),
    (110, 140, 160), (70, 60, 100),
)  # fmt: skip
GLASS = Fill((92, 78, 62), (150, 138, 120), "split", 0.3)
TYRE = Fill(grey(28))


@dataclass(frozen=True)
class CarLook:
    """A car's lasting looks.

    Args:
        kind: "hatch", "sedan", "van" or "pickup".
        length_m, width_m, height_m: outside measures.
        paint: body colour.
        stripe: colour of a stripe along the side; equal to the paint for none.
        lights_on: head and tail lights shine.
    """

    kind: str
    length_m: float
    width_m: float
    height_m: float
    paint: Colour
    stripe: Colour
    lights_on: bool


def sample_car(rng: Rng, *, lights_on: bool) -> CarLook:
    """A random car."""
    kind = pick(rng, ("hatch", "sedan", "van", "pickup"), (4, 3, 1.5, 1))
    length, width, height = {
        "hatch": (3.9, 1.7, 1.5), "sedan": (4.5, 1.76, 1.42), "van": (4.9, 1.9, 2.05), "pickup": (5.0, 1.85, 1.7),
    }[kind]  # fmt: skip
    paint = varied(rng, pick(rng, PAINTS))
    stripe = pick(rng, PAINTS) if chance(rng, 0.2) else paint
    size = between(rng, 0.94, 1.06)
    return CarLook(kind, length * size, width * size, height * between(rng, 0.95, 1.05), paint, stripe, lights_on)


def _profiles(look: CarLook) -> tuple[list[Corner], list[Corner]]:
    """Side outlines of body and cabin, from the lower rear, over the top, to the lower front."""
    half, top = look.length_m / 2, look.height_m
    belt = {"van": 0.5, "pickup": 0.58}.get(look.kind, 0.6) * top
    rear, bonnet = -half, {"van": 0.42}.get(look.kind, 0.56) * top
    body = [
        (rear, 0.28),
        (rear, belt - 0.06),
        (rear + 0.08, belt),
        (half * 0.45, belt),
        (half - 0.12, bonnet),
        (half, 0.55),
        (half, 0.28),
    ]
    cabin = {
        "hatch": [(rear + 0.08, belt), (rear + 0.35, top), (half * 0.08, top), (half * 0.5, belt)],
        "sedan": [(rear * 0.72, belt), (rear * 0.42, top), (half * 0.06, top), (half * 0.46, belt)],
        "van": [(rear + 0.02, belt), (rear + 0.06, top), (half * 0.5, top), (half * 0.82, belt)],
        "pickup": [(rear * 0.18, belt), (rear * 0.12, top), (half * 0.25, top), (half * 0.5, belt)],
    }[look.kind]
    return body, cabin


def draw_car(sketch: Sketch, look: CarLook) -> None:
    """Draws a car; forward is its nose."""
    sketch.ordered = True
    half_w, paint = look.width_m / 2, Fill(look.paint, scaled(look.paint, 0.72), "split", 0.3)
    body, cabin = _profiles(look)
    _wheels(sketch, look)
    prism(sketch, body, (half_w, half_w), paint)
    _wheel_faces(sketch, look)
    _stripe(sketch, look)
    prism(sketch, cabin, (half_w * 0.95, half_w * 0.76), Fill(look.paint))
    _windows(sketch, cabin, half_w)
    _ends(sketch, look)


def _wheels(sketch: Sketch, look: CarLook) -> None:
    half_w, half = look.width_m / 2, look.length_m / 2
    floor = [(x, y, z) for x in (-half_w + 0.1, half_w - 0.1) for y in (0.16, 0.4) for z in (-half + 0.2, half - 0.2)]
    sketch.cloud(floor, Fill(grey(22)))
    for x in (-half_w, half_w):
        for z in (-0.62 * half, 0.62 * half):
            inner = x * 0.76
            sketch.cloud(np.concatenate([circle((x, 0.31, z), 0.31), circle((inner, 0.31, z), 0.31)]), TYRE)


def _wheel_faces(sketch: Sketch, look: CarLook) -> None:
    half_w, half = look.width_m / 2, look.length_m / 2
    for side in (-1.0, 1.0):
        for z in (-0.62 * half, 0.62 * half):
            centre, outward = (side * (half_w + 0.01), 0.31, z), (side, 0.0, 0.0)
            for radius, fill in ((0.37, Fill(grey(18))), (0.31, TYRE), (0.19, Fill(grey(150))), (0.06, Fill(grey(60)))):
                sketch.face(circle(centre, radius), fill, outward)


def _stripe(sketch: Sketch, look: CarLook) -> None:
    if look.stripe == look.paint:
        return
    half = look.length_m / 2
    for side in (-1.0, 1.0):
        x = side * (look.width_m / 2 + 0.01)
        band = [(x, y, z) for y, z in ((0.66, -half), (0.74, -half), (0.74, half * 0.8), (0.66, half * 0.8))]
        sketch.face(band, Fill(look.stripe), (side, 0.0, 0.0))


def _windows(sketch: Sketch, cabin: Sequence[Corner], half_w: float) -> None:
    low, high = cabin[0][1], cabin[1][1]

    def at(side: float, z: float, share: float) -> Point:
        return side * half_w * (0.95 - 0.19 * share) * 1.01, low + (high - low) * share, z

    def along(first: Corner, second: Corner, share: float) -> float:
        return first[0] + (second[0] - first[0]) * share

    for side in (-1.0, 1.0):
        rear = [along(cabin[0], cabin[1], s) + 0.1 for s in (0.1, 0.88)]
        front = [along(cabin[3], cabin[2], s) - 0.1 for s in (0.1, 0.88)]
        pillar = (rear[1] + front[1]) / 2
        for left, right in (((rear[0], rear[1]), (pillar - 0.04,) * 2), ((pillar + 0.04,) * 2, (front[0], front[1]))):
            pane = [at(side, left[0], 0.1), at(side, right[0], 0.1), at(side, right[1], 0.88), at(side, left[1], 0.88)]
            sketch.face(pane, GLASS, (side, 0.15, 0.0))
    for (bottom, top), ahead in (((cabin[0], cabin[1]), -1.0), ((cabin[3], cabin[2]), 1.0)):
        steep = (bottom[0] - top[0]) * ahead
        corners = [(side * 0.88, share) for side, share in ((-1, 0.1), (1, 0.1), (1, 0.88), (-1, 0.88))]
        pane = [at(side, along(bottom, top, share) + 0.02 * ahead, share) for side, share in corners]
        sketch.face(pane, GLASS, (0.0, max(steep, 0.0), ahead * (high - low)))


def _ends(sketch: Sketch, look: CarLook) -> None:
    half, half_w = look.length_m / 2, look.width_m / 2
    lamp = {
        1.0: (235, 245, 250) if look.lights_on else (190, 195, 195),
        -1.0: (60, 60, 255) if look.lights_on else (30, 30, 150),
    }
    for ahead in (-1.0, 1.0):
        z, outward = ahead * (half + 0.01), (0.0, 0.0, ahead)

        def patch(x: float, y: float, w: float, h: float, fill: Fill, z: float = z, outward: Point = outward) -> None:
            corners = [(x - w, y - h, z), (x + w, y - h, z), (x + w, y + h, z), (x - w, y + h, z)]
            sketch.face(corners, fill, outward)

        height = 0.48 if ahead > 0 else 0.62
        patch(0.0, 0.33, half_w * 0.98, 0.06, Fill(grey(45)))
        patch(0.0, 0.4, 0.26, 0.06, Fill((210, 225, 225)))
        for side in (-1, 1):
            patch(side * half_w * 0.74, height, half_w * 0.2, 0.07, Fill(lamp[ahead]))
        if ahead > 0:
            patch(0.0, height, half_w * 0.45, 0.06, Fill(grey(35)))
