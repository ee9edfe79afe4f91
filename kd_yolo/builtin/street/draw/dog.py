"""Dogs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd_yolo.base.rng import Rng, between, pick
from kd_yolo.builtin.street.fills import Colour, Fill, grey, scaled, varied
from kd_yolo.builtin.street.sketch import Point, Sketch

COATS: tuple[Colour, ...] = (
    (28, 28, 32),
    (40, 66, 110),
    (70, 120, 170),
    (110, 150, 190),
    (200, 210, 215),
    (120, 120, 122),
    (60, 80, 96),
)


@dataclass(frozen=True)
class DogLook:
    """A dog's lasting looks.

    Args:
        size: height at the shoulder in metres.
        coat: fur.
        long_body: length of the back as a share of the size.
        ears: "up" or "floppy".
        tail: "up", "down" or "curl".
        snout: length of the snout as a share of the size.
    """

    size: float
    coat: Fill
    long_body: float
    ears: str
    tail: str
    snout: float


def sample_dog(rng: Rng) -> DogLook:
    """A random dog."""
    first, second = varied(rng, pick(rng, COATS)), varied(rng, pick(rng, COATS))
    pattern = pick(rng, ("plain", "camouflage", "halves", "dots"), (4, 2, 1, 0.7))
    coat = Fill(first, second, pattern, between(rng, 0.06, 0.16), 0.25)
    shape = between(rng, 0.9, 1.4), pick(rng, ("up", "floppy")), pick(rng, ("up", "down", "curl"))
    return DogLook(between(rng, 0.4, 0.78), coat, *shape, between(rng, 0.2, 0.36))


def draw_dog(sketch: Sketch, look: DogLook, pose: str, phase: float) -> None:
    """Draws a dog.

    Args:
        sketch: receives the shapes.
        look: the dog.
        pose: "stand", "sit" or "sniff".
        phase: of the step, radians.
    """
    size = look.size
    back, girth = size * look.long_body / 2, size * 0.2
    drop = size * 0.42 if pose == "sit" else 0.0
    chest, rump = (0.0, size - girth, back * 0.9), (0.0, size - girth - drop, -back * (0.5 if pose == "sit" else 0.9))
    sketch.hull([(chest, girth), (rump, girth * 0.85)], look.coat)
    _legs(sketch, look, pose, phase, (chest, rump))
    head = _head_at(look, pose, chest)
    sketch.hull([(chest, girth * 0.75), (head, girth * 0.55)], look.coat, bias_m=0.03)
    _head(sketch, look, head)
    _tail(sketch, look, rump)


def _legs(sketch: Sketch, look: DogLook, pose: str, phase: float, joints: tuple[Point, Point]) -> None:
    thick, limb = look.size * 0.065, Fill(scaled(look.coat.colour, 0.85), roundness=0.25)
    swing = 0.22 * look.size if pose == "stand" else 0.02
    for index, (joint, side) in enumerate((j, s) for j in joints for s in (-1, 1)):
        forward = swing * float(np.sin(phase + np.pi * (index in (1, 2))))
        x, y, z = side * look.size * 0.13, joint[1], joint[2]
        folded = pose == "sit" and joint is joints[1]
        foot = (x, thick, z + (0.25 * look.size if folded else forward))
        knee = (x, y * 0.5, z + (0.2 * look.size if folded else forward * 0.2 - 0.04 * look.size))
        sketch.hull([((x, y, z), thick * 1.6), (knee, thick)], limb)
        sketch.hull([(knee, thick), (foot, thick * 0.8)], limb)
        sketch.hull([(foot, thick * 0.8), ((x, thick * 0.8, foot[2] + thick * 1.4), thick * 0.7)], limb)


def _head_at(look: DogLook, pose: str, chest: Point) -> Point:
    if pose == "sniff":
        return 0.0, chest[1] * 0.45, chest[2] + 0.4 * look.size
    return 0.0, chest[1] + 0.38 * look.size, chest[2] + 0.22 * look.size


def _head(sketch: Sketch, look: DogLook, head: Point) -> None:
    radius, (x, y, z) = look.size * 0.15, head
    nose = (x, y - radius * 0.45, z + look.size * look.snout)
    sketch.hull([(head, radius)], look.coat, bias_m=0.06)
    sketch.hull([((x, y - radius * 0.3, z), radius * 0.62), (nose, radius * 0.4)], look.coat, bias_m=0.07)
    sketch.hull([((x, nose[1] + radius * 0.15, nose[2] + radius * 0.3), radius * 0.2)], Fill(grey(15)), bias_m=0.09)
    ear = Fill(scaled(look.coat.colour, 0.65))
    for side in (-1, 1):
        root = (x + side * radius * 0.6, y + radius * 0.6, z - radius * 0.2)
        tip_y = y + radius * 1.7 if look.ears == "up" else y - radius * 0.7
        tip = (x + side * radius * (0.7 if look.ears == "up" else 1.15), tip_y, z - radius * 0.2)
        sketch.hull([(root, radius * 0.4), (tip, radius * (0.1 if look.ears == "up" else 0.3))], ear, bias_m=0.08)


def _tail(sketch: Sketch, look: DogLook, rump: Point) -> None:
    x, y, z = rump
    thick, reach = look.size * 0.05, look.size * 0.4
    root = (x, y + look.size * 0.08, z - look.size * 0.14)
    rise = {"up": 0.9, "down": -0.7, "curl": 0.6}[look.tail] * reach
    tip = (x, max(0.05, root[1] + rise), root[2] - reach * (0.2 if look.tail == "curl" else 0.5))
    sketch.hull([(root, thick), (tip, thick * 0.7)], look.coat)
    if look.tail == "curl":
        sketch.hull([(tip, thick * 0.8), ((x, tip[1] + 0.02, tip[2] + reach * 0.4), thick)], look.coat)
