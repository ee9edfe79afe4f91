"""A scene in the making: who is there already and where there is room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kd_yolo.base.rng import Rng, between, chance
from kd_yolo.builtin.street.actors import Actor
from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.light import Light

_TRIES = 25  # places looked at before a street counts as full


@dataclass
class Plan:
    """A scene in the making.

    Args:
        rng: the scene's stream.
        camera: who looks.
        light: when.
        seed: of the world, for identities.
        people: identity numbers not yet in the scene.
        actors: who is there.
        taken: (x, z, radius) of occupied ground.
    """

    rng: Rng
    camera: Camera
    light: Light
    seed: int
    people: list[int]
    actors: list[Actor] = field(default_factory=list)
    taken: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, actor: Actor, radius_m: float) -> int:
        self.actors.append(actor)
        self.taken.append((actor.x_m, actor.z_m, radius_m))
        return len(self.actors) - 1

    def is_free(self, x_m: float, z_m: float, radius_m: float) -> bool:
        return all((x_m - x) ** 2 + (z_m - z) ** 2 > (radius_m + r) ** 2 for x, z, r in self.taken)

    def spot(
        self, zone: str, radius_m: float, *, nearest_m: float = 0.0, reach: float = 1.0
    ) -> tuple[float, float] | None:
        """A free place in the image; None when the street is full.

        Args:
            zone: "walk" (off the road), "road" or "any".
            radius_m: ground that it takes.
            nearest_m: least distance from the camera.
            reach: share of the depth that is used; small things far away would be a few pixels.
        """
        near, far = self.camera.depth_range_m
        far *= reach
        near = max(near, nearest_m)
        for _ in range(_TRIES):
            z = near * (max(far, near + 1) / near) ** float(self.rng.random())
            x = between(self.rng, -0.52, 0.52) * self.camera.width_px / self.camera.focal_px * z
            street = self.camera.street
            fits = zone == "any" or street.kind == "plaza" or bool(street.on_road(x, z)) == (zone == "road")
            if fits and street.inside_walls(x) and self.is_free(x, z, radius_m):
                return x, z
        return None

    def near(self, centre: tuple[float, float], spread_m: float) -> tuple[float, float]:
        """A place around another one, in front of the houses."""
        x, z = centre[0] + float(self.rng.normal(0, spread_m)), centre[1] + float(self.rng.normal(0, spread_m))
        return x, min(max(3.0, z), self.camera.street.depth_max_m)

    def heading(self) -> float:
        """A direction of walking: mostly along the street."""
        if self.camera.street.kind == "plaza" or chance(self.rng, 0.3):
            return between(self.rng, 0, 2 * np.pi)
        base = np.pi / 2 if self.camera.street.kind == "across" else 0.0
        return base + np.pi * chance(self.rng, 0.5) + between(self.rng, -0.35, 0.35)

    def blur(self, speed_mps: float, z_m: float, yaw: float) -> int:
        """Motion blur in pixels at 1/40 s by day, 1/20 s at night."""
        exposure_s = 0.025 * (1 + self.light.darkness)
        return int(abs(np.sin(yaw)) * speed_mps * exposure_s * self.camera.focal_px / z_m)
