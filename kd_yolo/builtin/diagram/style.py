"""Whose hand and which pen: one choice for a whole diagram."""

from __future__ import annotations

from dataclasses import dataclass

from kd_yolo.base.rng import Rng, between, chance, pick

Ink = tuple[float, float, float]  # blue, green, red in 0..255
_INKS: tuple[Ink, ...] = ((150, 75, 45), (60, 50, 45), (40, 40, 40), (95, 95, 100), (130, 50, 70), (55, 45, 150))


@dataclass(frozen=True)
class Style:
    """A hand and its pen.

    Args:
        wobble: standard deviation of the hand's wavering in page units (the page is 640 x 480).
        pen_width: in page units.
        ink: colour of everything.
        pressure: darkness of the ink, 0..1.
        sharp: tasks have corners instead of rounded ones.
        filled_arrows: arrowheads are filled triangles.
        text_height: of a small letter in page units.
        slant: how far letters lean right, as a share of their height.
        headers: pools and lanes have a strip for their name.
    """

    wobble: float
    pen_width: float
    ink: Ink
    pressure: float
    sharp: bool
    filled_arrows: bool
    text_height: float
    slant: float
    headers: bool


def sample_style(rng: Rng) -> Style:
    """A random hand."""
    return Style(
        wobble=between(rng, 0.25, 0.9),
        pen_width=between(rng, 0.9, 1.8),
        ink=pick(rng, _INKS, (0.3, 0.2, 0.2, 0.2, 0.05, 0.05)),
        pressure=between(rng, 0.6, 1.0),
        sharp=chance(rng, 0.35),
        filled_arrows=chance(rng, 0.5),
        text_height=between(rng, 3.6, 5.8),
        slant=between(rng, -0.1, 0.4),
        headers=chance(rng, 0.7),
    )
