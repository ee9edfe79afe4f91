"""House fronts as flat images, which the backdrop hangs on its walls."""

from __future__ import annotations

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.fills import Colour, Floats, grey, scaled, varied

PX_PER_M = 14
WALLS: tuple[Colour, ...] = (
    (150, 175, 195), (120, 140, 180), (95, 110, 150), (170, 180, 185),
    (140, 140, 140), (165, 185, 205), (110, 130, 120), (90, 95, 110),
)  # fmt: skip
SHOPS: tuple[Colour, ...] = ((60, 60, 160), (60, 110, 60), (130, 70, 40), (60, 140, 190), (90, 90, 90), (120, 60, 110))
GLASS: Colour = (110, 95, 80)


def make_facade(rng: Rng, *, base_m: float, height_m: float) -> tuple[Floats, Floats]:
    """A row of houses.

    Args:
        rng: of the backdrop.
        base_m: length of the row.
        height_m: height of the houses.

    Returns:
        image (h, w, 3) in 0..255, and light of the windows at night (h, w) in 0..1.
    """
    height, width = int(height_m * PX_PER_M), int(min(base_m, 70.0) * PX_PER_M)
    image, lit = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    left = 0
    while left < width:
        right = min(width, left + int(between(rng, 5.0, 12.0) * PX_PER_M))
        _house(image[:, left:right], lit[:, left:right], rng)
        left = right
    image += rng.standard_normal(image.shape[:2], np.float32)[..., None] * 4
    return np.clip(image, 0, 255), lit


def _house(image: Floats, lit: Floats, rng: Rng) -> None:
    image[:] = varied(rng, pick(rng, WALLS), 18)
    if chance(rng, 0.5):  # courses of brick
        image[::4] *= 0.9
    image[:, :2] *= 0.75
    storey = int(between(rng, 2.7, 3.4) * PX_PER_M)
    for floor, bottom in enumerate(range(image.shape[0], 0, -storey)):
        if floor == 0:
            _shop(image[max(0, bottom - storey) : bottom], lit[max(0, bottom - storey) : bottom], rng)
        elif bottom >= storey:
            _windows(image[bottom - storey : bottom], lit[bottom - storey : bottom], rng)


def _windows(image: Floats, lit: Floats, rng: Rng) -> None:
    height, width = image.shape[:2]
    pane, gap = int(between(rng, 0.8, 1.4) * PX_PER_M), int(between(rng, 0.7, 1.6) * PX_PER_M)
    top, bottom = int(0.2 * height), int(0.8 * height)
    frame = grey(pick(rng, (60, 210, 150)))
    for left in range(gap // 2, width - pane, pane + gap):
        image[top:bottom, left : left + pane] = frame
        image[top + 2 : bottom - 2, left + 2 : left + pane - 2] = scaled(GLASS, between(rng, 0.6, 1.4))
        image[(top + bottom) // 2, left : left + pane] = frame
        if chance(rng, 0.3):
            lit[top + 2 : bottom - 2, left + 2 : left + pane - 2] = between(rng, 0.4, 1.0)


def _shop(image: Floats, lit: Floats, rng: Rng) -> None:
    """The ground floor: shop windows, an awning, a door."""
    height, width = image.shape[:2]
    sign, door = varied(rng, pick(rng, SHOPS), 15), int(between(rng, 0.1, 0.7) * width)
    image[: height // 5] = sign
    for left in range(4, width - 12, 12):  # lettering
        if chance(rng, 0.7):
            image[height // 12 : height // 6, left : left + int(rng.integers(3, 9))] = scaled(sign, 1.8)
    image[height // 4 : int(0.85 * height), 5 : width - 5] = scaled(GLASS, between(rng, 0.7, 1.3))
    lit[height // 4 : int(0.85 * height), 5 : width - 5] = between(rng, 0.2, 0.9) * chance(rng, 0.5)
    for left in range(5, width - 8, int(between(rng, 0.4, 1.2) * PX_PER_M)):  # goods behind the glass
        goods = varied(rng, pick(rng, SHOPS), 40)
        image[int(between(rng, 0.4, 0.75) * height) : int(0.85 * height), left : left + int(rng.integers(3, 10))] = (
            goods
        )
    image[height // 4 :, door : door + PX_PER_M] = varied(rng, (60, 80, 110), 25)
