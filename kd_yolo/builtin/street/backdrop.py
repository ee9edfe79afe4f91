"""What a camera sees when the street is empty: sky, houses, ground. Fixed for one camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between, chance, pick, stream
from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.facade import make_facade
from kd_yolo.builtin.street.fills import Colour, Floats, grey, varied

_FAR_M = 120.0
_WALL_HEIGHT_M = 11.0


@dataclass(frozen=True)
class Backdrop:
    """An empty street.

    Args:
        image: (h, w, 3) by day, 0..255.
        lit: (h, w) share of light that windows give at night, 0..1.
    """

    image: Floats
    lit: Floats


def make_backdrop(camera: Camera, seed: int) -> Backdrop:
    """Draws the empty street of a camera."""
    rng = stream(seed, "backdrop", camera.id)
    image = _sky(camera, rng)
    lit = np.zeros(image.shape[:2], np.float32)
    _skyline(image, camera, rng)
    _ground(image, camera, rng)
    for base in _walls(camera):
        texture, windows = make_facade(rng, base_m=float(np.linalg.norm(base[1] - base[0])), height_m=_WALL_HEIGHT_M)
        _hang(image, lit, camera, base, texture, windows)
    return Backdrop(image, lit)


def smooth_noise(rng: Rng, shape: tuple[int, int], cell_px: int) -> Floats:
    """Cloudy noise (h, w) of about unit size with blobs of ``cell_px``."""
    small = rng.standard_normal((shape[0] // cell_px + 2, shape[1] // cell_px + 2), np.float32)
    return np.asarray(cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _sky(camera: Camera, rng: Rng) -> Floats:
    top: Colour = varied(rng, pick(rng, ((205, 160, 110), (190, 180, 170), (215, 200, 185))), 15)
    low: Colour = varied(rng, (225, 222, 215), 12)
    share = np.clip(np.arange(camera.height_px) / max(camera.horizon_px, 1.0), 0, 1)[:, None, None]
    clouds = np.clip(smooth_noise(rng, (camera.height_px, camera.width_px), 24), 0, 1)[..., None] * 18
    return np.asarray(np.array(top, np.float32) * (1 - share) + np.array(low, np.float32) * share + clouds, np.float32)


def _skyline(image: Floats, camera: Camera, rng: Rng) -> None:
    """Hazy houses and trees far away."""
    horizon, x = int(camera.horizon_px) + 2, 0
    while x < camera.width_px:
        width, height = int(rng.integers(12, 50)), int(between(rng, 0.05, 0.5) * camera.horizon_px)
        colour = varied(rng, pick(rng, (grey(165), (160, 175, 185), (150, 165, 150))), 15)
        image[max(0, horizon - height) : horizon, x : x + width] = colour
        for row in range(max(0, horizon - height) + 3, horizon - 3, 6):
            image[row : row + 2, x + 3 : x + width - 3 : 5] *= 0.82
        x += width


def _ground(image: Floats, camera: Camera, rng: Rng) -> None:
    """Road, markings, kerbs and paving, by the ground point that each pixel shows."""
    first = min(camera.height_px - 1, int(camera.horizon_px) + 1)
    rows = np.arange(first, camera.height_px, dtype=np.float32)[:, None]
    z_m = np.minimum(camera.focal_px * camera.height_m / (rows - camera.horizon_px), _FAR_M)
    x_m = (np.arange(camera.width_px, dtype=np.float32)[None] - camera.width_px / 2) * z_m / camera.focal_px
    z_m = np.broadcast_to(z_m, x_m.shape)
    paving = _paving(x_m, z_m, rng)
    if camera.street.kind != "plaza":
        _road(paving, camera, x_m, z_m, rng)
    near = np.clip(12.0 / z_m, 0.15, 1.0)  # far away the grain averages out
    stains = smooth_noise(rng, x_m.shape, 14) * 5 + rng.standard_normal(x_m.shape, np.float32) * 7 * near
    image[first:] = np.clip(paving + stains[..., None], 0, 255)


def _paving(x_m: Floats, z_m: Floats, rng: Rng) -> Floats:
    tile = between(rng, 0.5, 1.6)
    base = varied(rng, pick(rng, ((150, 158, 165), (128, 140, 150), (120, 122, 124), (110, 130, 120))), 15)
    joints = ((x_m / tile) % 1 < 0.06) | ((z_m / tile) % 1 < 0.06)
    chequer = ((np.floor(x_m / tile) + np.floor(z_m / tile)) % 2) * between(rng, 0.0, 14.0)
    fade = np.clip(14.0 / z_m, 0.0, 1.0)
    return np.asarray(np.array(base, np.float32) - ((joints * 28 + chequer) * fade)[..., None], np.float32)


def _road(ground: Floats, camera: Camera, x_m: Floats, z_m: Floats, rng: Rng) -> None:
    street = camera.street
    across, along = (z_m, x_m) if street.kind == "across" else (x_m, z_m)
    road = np.asarray(street.on_road(x_m, z_m))
    ground[road] = varied(rng, grey(between(rng, 75, 115)), 6)
    for kerb in (street.road_from_m, street.road_to_m):
        ground[np.abs(across - kerb) < 0.12] = grey(175)
    middle = (street.road_from_m + street.road_to_m) / 2
    dashes = (np.abs(across - middle) < 0.08) & (along % 4.0 < 2.2)
    ground[dashes & road] = grey(215)
    start = between(rng, 4.0, 14.0)
    if chance(rng, 0.5):
        zebra = (along > start) & (along < start + 3.0) & (across % 1.0 < 0.5) & road
        ground[zebra] = grey(220)


def _walls(camera: Camera) -> list[npt.NDArray[np.float64]]:
    """Left and right foot (x, z) of each wall, as the camera sees them."""
    street = camera.street
    if street.kind == "along":
        left, right = street.road_from_m - street.wall_m, street.road_to_m + street.wall_m
        return [np.array([(left, 1.5), (left, 60.0)]), np.array([(right, 60.0), (right, 1.5)])]
    z = street.depth_max_m + 0.4
    half = 0.6 * camera.width_px / camera.focal_px * z
    return [np.array([(-half, z), (half, z)])]


def _hang(
    image: Floats, lit: Floats, camera: Camera, base: npt.NDArray[np.float64], texture: Floats, windows: Floats
) -> None:
    """Puts a facade on a wall in perspective."""
    (x0, z0), (x1, z1) = base
    corners = np.array([(x0, _WALL_HEIGHT_M, z0), (x1, _WALL_HEIGHT_M, z1), (x1, 0, z1), (x0, 0, z0)], np.float32)
    height, width = texture.shape[:2]
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, camera.project(corners)[0])
    size = camera.width_px, camera.height_px
    alpha = np.asarray(cv2.warpPerspective(np.ones((height, width), np.float32), matrix, size))
    hung = np.asarray(cv2.warpPerspective(texture, matrix, size, flags=cv2.INTER_AREA))
    image *= 1 - alpha[..., None]
    image += hung * alpha[..., None]
    lit *= 1 - alpha
    lit += np.asarray(cv2.warpPerspective(windows, matrix, size)) * alpha
