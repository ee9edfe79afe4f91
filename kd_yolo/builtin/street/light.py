"""Time of day and weather, and what they do to an image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.fills import Floats

_HAZE_COLOUR = np.array([205, 205, 200], np.float32)
_COARSE = 4  # the light map is computed on every fourth pixel


@dataclass(frozen=True)
class Light:
    """Time of day and weather.

    Args:
        time: "day", "dusk" or "night".
        ambient: brightness of blue, green and red without lamps.
        haze_per_m: density of the haze.
        rain: it rains.
        sun: direction of the shadows, -1 (left) to 1; 0 for none.
    """

    time: str
    ambient: tuple[float, float, float]
    haze_per_m: float
    rain: bool
    sun: float

    @property
    def darkness(self) -> float:
        """0 by day, 1 at night."""
        return {"day": 0.0, "dusk": 0.5, "night": 1.0}[self.time]


@dataclass(frozen=True)
class Lamp:
    """A source of light in the image: where, how far it reaches in pixels, how strong."""

    x_px: float
    y_px: float
    reach_px: float
    strength: float


def sample_light(rng: Rng) -> Light:
    """A random time of day and weather."""
    time = pick(rng, ("day", "dusk", "night"), (0.6, 0.2, 0.2))
    level = {"day": between(rng, 0.8, 1.1), "dusk": between(rng, 0.4, 0.6), "night": between(rng, 0.24, 0.4)}[time]
    tint = {"day": (1.0, 1.0, 1.0), "dusk": (0.9, 0.95, 1.15), "night": (1.2, 1.0, 0.85)}[time]
    haze = between(rng, 0.012, 0.04) if chance(rng, 0.25) else 0.0
    sun = between(rng, -1.0, 1.0) if time == "day" and haze == 0 else 0.0
    return Light(time, (level * tint[0], level * tint[1], level * tint[2]), haze, chance(rng, 0.12), sun)


def hazed(colour: Floats, alpha: Floats | float, light: Light, depth_m: Floats | float) -> Floats:
    """Colours (already times alpha) as seen through the haze."""
    if light.haze_per_m == 0:
        return colour
    share = 1 - np.exp(-light.haze_per_m * np.asarray(depth_m, np.float32))[..., None]
    return np.asarray(
        colour * (1 - share) + _HAZE_COLOUR * (share * np.asarray(alpha, np.float32)[..., None]), np.float32
    )


def backdrop_depth(camera: Camera) -> Floats:
    """About how far away each row of the empty street is, (h, 1)."""
    rows = np.arange(camera.height_px, dtype=np.float32)[:, None]
    ground = camera.focal_px * camera.height_m / np.maximum(rows - camera.horizon_px, 1.0)
    return np.asarray(np.minimum(ground, camera.street.depth_max_m), np.float32)


def light_up(image: Floats, lit: Floats, light: Light, lamps: list[Lamp]) -> Floats:
    """The image under the light of the hour, with lamps and lit windows."""
    if light.darkness == 0:
        return np.asarray(image * np.array(light.ambient, np.float32))
    height, width = image.shape[:2]
    level = np.zeros((height // _COARSE, width // _COARSE), np.float32)
    rows, columns = np.arange(level.shape[0])[:, None] * _COARSE, np.arange(level.shape[1])[None] * _COARSE
    shine = level.copy()
    for lamp in lamps:
        squared = ((columns - lamp.x_px) ** 2 + (rows - lamp.y_px) ** 2) / lamp.reach_px**2
        level += lamp.strength * np.exp(-squared)
        shine += lamp.strength * np.exp(-squared * 60)
    level, shine = (np.asarray(cv2.resize(m, (width, height))) for m in (level, shine))
    warm = np.array([0.75, 0.95, 1.1], np.float32)
    lamps_light = (level * light.darkness * 0.8)[..., None] * warm
    bright = np.maximum(np.array(light.ambient, np.float32) + lamps_light, (lit * light.darkness)[..., None])
    glow = (shine * light.darkness * 120)[..., None] * warm
    return np.asarray(image * bright + glow, np.float32)


def rain(image: Floats, rng: Rng) -> Floats:
    """Adds streaks of rain."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.uint8)
    for _ in range(width // 4):
        x, y, length = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(6, 16))
        cv2.line(streaks, (x, y), (x - length // 5, y + length), 255, 1, cv2.LINE_AA)
    share = (streaks.astype(np.float32) / 255 * 0.22)[..., None]
    return np.asarray(image * (1 - share) + 200 * share, np.float32)
