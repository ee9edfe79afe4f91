"""Cameras: where each looks from, which street it sees, and what its lens and sensor do to an image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kd_yolo.base.rng import Rng, between, pick, stream
from kd_yolo.builtin.street.fills import Floats

_NEAREST_M = 0.8  # points behind the lens are pulled to here
_SMALLEST_PERSON = 0.065  # height of the farthest person as a share of the image's width


@dataclass(frozen=True)
class Street:
    """The ground plan that a camera sees.

    Args:
        kind: "across" (the road runs left to right), "along" (it runs away from the camera) or "plaza" (no road).
        road_from_m: near (across) or left (along) kerb.
        road_to_m: far or right kerb.
        wall_m: how far behind the kerbs the houses stand; for a plaza, their distance.
    """

    kind: str
    road_from_m: float
    road_to_m: float
    wall_m: float

    def on_road(self, x_m: Floats | float, z_m: Floats | float) -> Floats | bool:
        """Whether ground points lie on the carriageway."""
        across = z_m if self.kind == "across" else x_m
        return (across > self.road_from_m) & (across < self.road_to_m)  # type: ignore[return-value]

    @property
    def depth_max_m(self) -> float:
        """Nothing stands behind this distance."""
        return {"across": self.road_to_m + self.wall_m, "along": 60.0, "plaza": self.wall_m}[self.kind] - 0.4

    def inside_walls(self, x_m: float) -> bool:
        """Whether a place is on this side of the houses."""
        if self.kind != "along":
            return True
        return self.road_from_m - self.wall_m + 0.4 < x_m < self.road_to_m + self.wall_m - 0.4


@dataclass(frozen=True)
class Camera:
    """A fixed camera: geometry, street, and optics.

    Args:
        id: number from 0.
        width_px: image width.
        height_px: image height.
        focal_px: focal length.
        horizon_px: row of the horizon.
        height_m: height of the lens above the ground.
        street: what it looks at.
        gain: brightness factor.
        gamma: contrast curve.
        balance: factors on blue, green and red.
        blur_px: sigma of the lens blur.
        noise: standard deviation of the sensor noise in grey levels by day.
        vignette: darkening in the corners, in 0..1.
    """

    id: int
    width_px: int
    height_px: int
    focal_px: float
    horizon_px: float
    height_m: float
    street: Street
    gain: float
    gamma: float
    balance: tuple[float, float, float]
    blur_px: float
    noise: float
    vignette: float

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Camera coordinates (right, up, away) in metres to pixels.

        Returns:
            pixels (n, 2) and pixels per metre at each point (n,).
        """
        scale = self.focal_px / np.maximum(points[:, 2], _NEAREST_M)
        px = np.stack(
            [self.width_px / 2 + points[:, 0] * scale, self.horizon_px + (self.height_m - points[:, 1]) * scale], 1
        )
        return px.astype(np.float32), scale.astype(np.float32)

    @property
    def depth_range_m(self) -> tuple[float, float]:
        """From where feet are about in the image to where a person is still a few pixels."""
        near = self.focal_px * self.height_m / (1.1 * self.height_px - self.horizon_px)
        far = min(self.focal_px * 1.7 / (_SMALLEST_PERSON * self.width_px), self.street.depth_max_m)
        return max(2.5, near), far


def make_camera(seed: int, camera_id: int, width_px: int, height_px: int) -> Camera:
    """The camera of this number: always the same for one seed."""
    rng = stream(seed, "camera", camera_id)
    return Camera(
        id=camera_id,
        width_px=width_px,
        height_px=height_px,
        focal_px=width_px * between(rng, 0.8, 1.35),
        horizon_px=height_px * between(rng, 0.16, 0.4),
        height_m=between(rng, 1.7, 4.8),
        street=_make_street(rng),
        gain=between(rng, 0.95, 1.25),
        gamma=between(rng, 0.7, 1.05),
        balance=(between(rng, 0.86, 1.12), between(rng, 0.95, 1.04), between(rng, 0.86, 1.12)),
        blur_px=pick(rng, (0.0, 0.0, 0.5, 0.8)),
        noise=between(rng, 1.0, 7.0),
        vignette=between(rng, 0.0, 0.3),
    )


def _make_street(rng: Rng) -> Street:
    kind = pick(rng, ("across", "along", "plaza"), (0.4, 0.4, 0.2))
    width_m = between(rng, 5.5, 9.0)
    if kind == "across":
        near = between(rng, 5.0, 10.0)
        return Street(kind, near, near + width_m, between(rng, 3.0, 14.0))
    if kind == "along":
        left = between(rng, -8.0, 0.5)
        return Street(kind, left, left + width_m, between(rng, 2.5, 5.0))
    return Street(kind, 0.0, 0.0, between(rng, 22.0, 40.0))


def expose(image: Floats, camera: Camera, rng: Rng, *, darkness: float) -> Floats:
    """What lens and sensor make of the light that comes in.

    Args:
        image: (h, w, 3) linear-ish colours, 0..255.
        camera: whose optics.
        rng: the image's own stream, for noise.
        darkness: 0 by day, 1 at night: noise grows.

    Returns:
        (h, w, 3) in 0..255.
    """
    if camera.blur_px > 0:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), camera.blur_px), np.float32)
    y, x = np.linspace(-1, 1, image.shape[0])[:, None], np.linspace(-1, 1, image.shape[1])[None]
    factor = (1 - camera.vignette * (x**2 + y**2) / 2)[..., None] * np.array(camera.balance) * camera.gain / 255
    curved = np.asarray(cv2.pow(np.clip(image * factor.astype(np.float32), 0, 1), camera.gamma), np.float32) * 255
    sigma = camera.noise * (1 + 0.8 * darkness)
    return np.asarray(np.clip(curved + _grain(image.shape[:2], rng) * sigma, 0, 255), np.float32)


def _grain(size: tuple[int, ...], rng: Rng) -> Floats:
    """Noise (h, w, 3) of about unit size: fine in brightness, coarser and weaker in colour, as small sensors have."""
    height, width = size
    fine = rng.standard_normal((height, width, 1), np.float32)
    coarse = rng.standard_normal((height // 2, width // 2, 3), np.float32) * 0.5
    return fine + np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
