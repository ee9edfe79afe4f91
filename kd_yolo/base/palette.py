"""The colours of all drawings and plots, RGB: told apart also by people who see red and green alike.

References:
    Okabe and Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

Colour = tuple[int, int, int]
BLUE: Colour = (0, 114, 178)
ORANGE: Colour = (230, 159, 0)
GREEN: Colour = (0, 158, 115)
PURPLE: Colour = (204, 121, 167)
SKY: Colour = (86, 180, 233)
VERMILION: Colour = (213, 94, 0)
YELLOW: Colour = (240, 228, 66)
OBJECTS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)


def as_bgr(colour: Colour) -> Colour:
    """For OpenCV."""
    return colour[::-1]


def as_hex(colour: Colour) -> str:
    """For matplotlib: ``#0072B2``."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


LINES = tuple(as_hex(colour) for colour in (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY))  # readable on white
