"""What a shape is painted with: a colour, a second colour in a pattern, and shading.

Patterns are measured in metres, so a striped shirt keeps its number of stripes at every distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between

Colour = tuple[float, float, float]  # blue, green, red in 0..255
Floats = npt.NDArray[np.float32]
Pattern = Callable[[Floats, Floats], "npt.NDArray[np.float32] | npt.NDArray[np.bool_]"]


def _wave(x: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(x % 1.0 < 0.5)


def _check(x: Floats, y: Floats) -> Floats:
    return np.asarray((_wave(x).astype(np.float32) + _wave(y)) / 2, np.float32)


def _dots(x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((x % 1.0 - 0.5) ** 2 + (y % 1.0 - 0.5) ** 2 < 0.09)


def _camouflage(x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(np.sin(2.1 * x + 1.7 * np.sin(1.3 * y)) + np.sin(2.7 * y + 1.1 * np.sin(1.9 * x)) > 0.2)


# Each takes x, y in periods from the shape's anchor, y up, and returns the share of the second colour.
PATTERNS: dict[str, Pattern] = {
    "plain": lambda _x, _y: np.zeros((1, 1), np.float32),
    "stripes": lambda _x, y: _wave(y),
    "pinstripes": lambda x, _y: _wave(x),
    "check": _check,
    "dots": _dots,
    "camouflage": _camouflage,
    "diagonal": lambda x, y: _wave(x + y),
    "split": lambda _x, y: y > 0,
    "halves": lambda x, _y: x > 0,
    "band": lambda _x, y: np.abs(y) < 0.6,
    "print": lambda x, y: (x / 1.1) ** 2 + y**2 < 1.0,
}


@dataclass(frozen=True)
class Fill:
    """Paint for one shape.

    Args:
        colour: first colour.
        second: colour of the pattern.
        pattern: a key of ``PATTERNS``.
        period_m: length of one repeat.
        roundness: how much darker the left and right edges are, in 0..1, as on a cylinder.
    """

    colour: Colour
    second: Colour = (0.0, 0.0, 0.0)
    pattern: str = "plain"
    period_m: float = 0.1
    roundness: float = 0.0

    @property
    def is_flat(self) -> bool:
        """Whether every pixel gets the same colour."""
        return self.pattern == "plain" and self.roundness == 0

    def paint(self, x_m: Floats, y_m: Floats, half_width_m: float) -> Floats:
        """Colours (h, w, 3) at columns ``x_m`` (1, w) and rows ``y_m`` (h, 1), both from the shape's anchor."""
        # The light comes from the upper left: the darkest edge is the right one.
        across = np.clip(x_m / max(half_width_m, 1e-6) + 0.3, -1.3, 1.3)
        light = (1.06 - self.roundness * 0.6 * across**2)[..., None]
        if self.pattern == "plain":
            return np.asarray(np.array(self.colour, np.float32) * light, np.float32)
        share = PATTERNS[self.pattern](x_m / self.period_m, y_m / self.period_m)[..., None].astype(np.float32)
        first, second = np.array(self.colour, np.float32), np.array(self.second, np.float32)
        return np.asarray((first * (1 - share) + second * share) * light, np.float32)

    def dyed(self, colour: Colour) -> Fill:
        """The same pattern in shades of one colour, as on a statue."""
        return replace(self, colour=colour, second=scaled(colour, 0.8))


def scaled(colour: Colour, factor: float) -> Colour:
    """A brighter or darker colour, clipped to 0..255."""
    blue, green, red = (min(255.0, max(0.0, channel * factor)) for channel in colour)
    return blue, green, red


def varied(rng: Rng, colour: Colour, amount: float = 14.0) -> Colour:
    """The colour with each channel moved by up to ``amount`` grey levels."""
    blue, green, red = (min(255.0, max(0.0, channel + between(rng, -amount, amount))) for channel in colour)
    return blue, green, red


def grey(level: float) -> Colour:
    """A neutral colour."""
    return level, level, level
