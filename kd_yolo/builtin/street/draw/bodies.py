"""Things that stand about like people and dogs, and are neither."""

from __future__ import annotations

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.draw.sign import BLUE, POLE, RED, YELLOW
from kd_yolo.builtin.street.fills import Colour, Fill, grey, scaled, varied
from kd_yolo.builtin.street.identity import pick_cloth
from kd_yolo.builtin.street.sketch import Sketch
from kd_yolo.builtin.street.solids import box, post

WOOD: Colour = (60, 95, 135)
LEAVES: tuple[Colour, ...] = ((40, 80, 50), (50, 105, 70), (60, 110, 110), (40, 70, 70))


def draw_lamp(sketch: Sketch, rng: Rng) -> None:
    """A street lamp."""
    colour, height = pick_cloth(rng), between(rng, 3.5, 5.0)
    sketch.ordered = True
    post(sketch, height, 0.06, Fill(colour, roundness=0.4))
    post(sketch, 1.1, 0.11, Fill(scaled(colour, 0.8), roundness=0.4))
    sketch.hull([((0.0, height, 0.0), 0.18)], Fill((190, 225, 235)))


def draw_bollard(sketch: Sketch, rng: Rng) -> None:
    """A bollard in the colours of clothes."""
    sketch.ordered = True
    height = between(rng, 0.8, 1.5)
    body = Fill(pick_cloth(rng), pick_cloth(rng), pick(rng, ("split", "band", "stripes")), between(rng, 0.15, 0.3), 0.4)
    post(sketch, height, between(rng, 0.12, 0.22), body)
    sketch.hull(
        [((0.0, height, 0.0), between(rng, 0.1, 0.17))], Fill(pick(rng, (grey(40), grey(190), (120, 165, 210))))
    )


def draw_mailbox(sketch: Sketch, rng: Rng) -> None:
    """A mailbox on two legs."""
    sketch.ordered = True
    colour = pick_cloth(rng)
    for x in (-0.13, 0.13):
        post(sketch, 0.8, 0.06, Fill(pick_cloth(rng), roundness=0.3), x)
    box(sketch, (0.5, 0.75, 0.4), Fill(colour, scaled(colour, 0.7), "split", 0.3), 0.75)
    sketch.hull([((0.0, 1.5, 0.0), 0.22)], Fill(scaled(colour, 0.9)))
    sketch.face(
        [(-0.15, 1.3, 0.21), (0.15, 1.3, 0.21), (0.15, 1.36, 0.21), (-0.15, 1.36, 0.21)],
        Fill(grey(30)),
        (0.0, 0.0, 1.0),
    )


def draw_clothes_rack(sketch: Sketch, rng: Rng) -> None:
    """Clothes without anyone in them."""
    sketch.ordered = True
    for x in (-0.6, 0.6):
        post(sketch, 1.5, 0.025, POLE, x)
    for x in np.linspace(-0.45, 0.45, int(rng.integers(2, 5))):
        colour, low = pick_cloth(rng), between(rng, 0.5, 0.9)
        shirt = [((float(x) + s, y, 0.0), 0.06) for s, y in ((-0.08, 1.38), (0.08, 1.38), (-0.12, low), (0.12, low))]
        sketch.hull(shirt, Fill(colour, pick_cloth(rng), pick(rng, ("plain", "stripes", "check")), 0.12, 0.3))


def draw_bin(sketch: Sketch, rng: Rng) -> None:
    """A bin."""
    sketch.ordered = True
    height, colour = between(rng, 0.7, 1.2), pick_cloth(rng)
    sketch.hull([((0.0, y, 0.0), r) for y, r in ((0.22, 0.2), (height - 0.2, 0.27))], Fill(colour, roundness=0.4))
    sketch.hull([((-0.2, height, 0.0), 0.06), ((0.2, height, 0.0), 0.06)], Fill(scaled(colour, 0.7)))


def draw_hydrant(sketch: Sketch, rng: Rng) -> None:
    """A hydrant."""
    colour = Fill(pick(rng, (RED, YELLOW, BLUE, (40, 66, 110), grey(120))), roundness=0.4)
    post(sketch, 0.65, 0.13, colour)
    sketch.hull([((0.0, 0.66, 0.0), 0.12)], colour)
    sketch.hull([((-0.2, 0.45, 0.0), 0.06), ((0.2, 0.45, 0.0), 0.06)], colour, bias_m=0.1)


def draw_bush(sketch: Sketch, rng: Rng) -> None:
    """A bush, some of them in the colours of fur."""
    leaf, size = varied(rng, pick(rng, (*LEAVES, (40, 66, 110), (60, 80, 96))), 20), between(rng, 0.3, 0.7)
    for _ in range(6):
        where = between(rng, -size, size), between(rng, 0.3, 1.0) * size, between(rng, -0.3, 0.3)
        sketch.hull(
            [(where, size * between(rng, 0.3, 0.5))], Fill(scaled(leaf, between(rng, 0.75, 1.2)), roundness=0.3)
        )


def draw_sawhorse(sketch: Sketch, rng: Rng) -> None:
    """A trestle: four legs and a back."""
    colour, length, height = (
        varied(rng, pick(rng, (WOOD, (40, 66, 110), grey(60), grey(190))), 15),
        between(rng, 0.3, 0.5),
        between(rng, 0.4, 0.8),
    )
    beam = Fill(colour, pick_cloth(rng), pick(rng, ("plain", "pinstripes")), 0.25, 0.2)
    sketch.hull([((0.0, height, -length), 0.09), ((0.0, height, length), 0.09)], beam, bias_m=0.1)
    for z in (-0.8 * length, 0.8 * length):
        for x in (-0.16, 0.16):
            sketch.hull([((x * 0.3, height, z), 0.04), ((x, 0.03, z), 0.03)], Fill(scaled(colour, 0.85)))
    if chance(rng, 0.5):  # a bag hangs at one end where a dog has its head
        sketch.hull([((0.0, height + 0.1, length + 0.1), 0.13)], Fill(scaled(colour, 0.8)), bias_m=0.12)


def draw_bags(sketch: Sketch, rng: Rng) -> None:
    """Rubbish bags."""
    for _ in range(int(rng.integers(1, 4))):
        colour, radius = (
            varied(rng, pick(rng, (grey(35), grey(60), (40, 66, 110), (120, 140, 160)))),
            between(rng, 0.16, 0.28),
        )
        x = between(rng, -0.4, 0.4)
        sketch.hull([((x, radius, 0.0), radius), ((x, radius * 2.1, 0.0), radius * 0.2)], Fill(colour, roundness=0.4))
