"""How a person walks through a street: where they are at a moment, which way they face, which step they are at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.actors import Actor, PersonLook
from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.identity import Identity
from kd_yolo.builtin.street.pose import Pose

Spot = tuple[float, float]  # (x, z) in metres, as the camera sees the ground
REACH = 0.55  # of a camera's depth: the farthest person is about 45 px high in an image 384 px wide
_BESIDE_M = 0.9  # beyond the image's edge: nobody appears out of nothing
_LOOK_S = 0.3  # the direction is that of the way from so long before to so long after
_STILL_M = 0.02  # a shorter way in this time is no walking
_PAUSE_CHANCE, _BACK_CHANCE = 0.35, 0.25


@dataclass(frozen=True)
class Walk:
    """One visit of a person to a camera.

    Args:
        person: number of the identity.
        times_s: when the person is at each spot of the way, rising.
        spots: the corners of the way; equal neighbours are a pause.
        pose: arms and length of the steps.
    """

    person: int
    times_s: tuple[float, ...]
    spots: tuple[Spot, ...]
    pose: Pose

    @property
    def end_s(self) -> float:
        """When the person is gone."""
        return self.times_s[-1]

    def spot(self, time_s: float) -> Spot:
        """The place at a moment; the nearest end before and after the visit."""
        x, z = (float(np.interp(time_s, self.times_s, [spot[axis] for spot in self.spots])) for axis in (0, 1))
        return x, z

    def way_m(self, time_s: float) -> float:
        """How far the person has walked."""
        steps = [0.0, *(_distance(a, b) for a, b in pairwise(self.spots))]
        return float(np.interp(time_s, self.times_s, np.cumsum(steps)))

    def heading(self, time_s: float) -> float:
        """Direction of the body: 0 faces the camera; that of the last step in a pause."""
        while True:
            (x0, z0), (x1, z1) = self.spot(time_s - _LOOK_S), self.spot(time_s + _LOOK_S)
            if np.hypot(x1 - x0, z1 - z0) > _STILL_M or time_s <= self.times_s[0]:
                return float(np.arctan2(x1 - x0, z0 - z1))
            time_s -= _LOOK_S

    def beside(self, person: int, aside: Spot, pose: Pose) -> Walk:
        """The same way for a companion, moved aside."""
        spots = tuple((x + aside[0], z + aside[1]) for x, z in self.spots)
        return replace(self, person=person, spots=spots, pose=pose)


def actor_at(walk: Walk, who: Identity, time_s: float, camera: Camera, exposure_s: float) -> Actor | None:
    """The person as they are to be drawn; None before and after the visit.

    Args:
        walk: the visit.
        who: looks of its person.
        time_s: the moment.
        camera: who looks.
        exposure_s: how long the shutter is open; what moves is blurred.
    """
    if not walk.times_s[0] <= time_s <= walk.end_s:
        return None
    (x, z), yaw = walk.spot(time_s), walk.heading(time_s)
    speed = (walk.way_m(time_s + 0.1) - walk.way_m(time_s - 0.1)) / 0.2
    cycle_m = 4 * walk.pose.stride * 0.46 * who.height_m  # each foot goes back twice half a step, one after the other
    phase = walk.pose.phase + 2 * np.pi * walk.way_m(time_s) / cycle_m
    pose = replace(walk.pose, kind="walk" if speed > 0.1 else "stand", phase=float(phase))
    blur = int(abs(np.sin(yaw)) * speed * exposure_s * camera.focal_px / z)
    return Actor(PersonLook(who, pose), x, z, yaw, blur)


def plan_walk(rng: Rng, camera: Camera, person: int, start_s: float) -> Walk:
    """A way across the image, perhaps with a pause or back to where it began.

    Args:
        rng: the visit's stream.
        camera: who looks.
        person: number of the identity.
        start_s: when the person comes.
    """
    side = 1.0 if chance(rng, 0.5) else -1.0
    start, end = _edge(rng, camera, -side), _edge(rng, camera, side)
    pause_s = between(rng, 0.8, 2.5) if chance(rng, _PAUSE_CHANCE) else 0.0
    turns_back = chance(rng, _BACK_CHANCE)
    middle = _inside(rng, camera)
    spots = [start, middle, middle, (_edge(rng, camera, -side) if turns_back else end)]
    speed = between(rng, 1.1, 1.7)
    lengths = [_distance(a, b) / speed for a, b in pairwise(spots)]
    lengths[1] = pause_s
    times = [start_s, *(start_s + np.cumsum(lengths))]
    return Walk(person, tuple(float(time) for time in times), tuple(spots), sample_gait(rng))


def sample_gait(rng: Rng) -> Pose:
    """Arms and steps of a walking person."""
    arms = pick(rng, ("swing", "phone", "carry"), (6, 2, 1))
    return Pose("walk", between(rng, 0, 2 * np.pi), arms, between(rng, 0.35, 0.5))


def _depth(rng: Rng, camera: Camera) -> float:
    near, far = camera.depth_range_m
    near, far = 1.15 * near, max(REACH * far, 1.15 * near + 1)
    return float(near * (far / near) ** float(rng.random()))


def half_width_m(camera: Camera, z_m: float) -> float:
    """How far to the side the image reaches at a distance."""
    return camera.width_px / 2 / camera.focal_px * z_m


def _edge(rng: Rng, camera: Camera, side: float) -> Spot:
    z = _depth(rng, camera)
    return side * (half_width_m(camera, z) + _BESIDE_M), z


def _inside(rng: Rng, camera: Camera) -> Spot:
    z = _depth(rng, camera)
    return between(rng, -0.6, 0.6) * half_width_m(camera, z), z


def keeps_clear(walk: Walk, taken: Sequence[tuple[float, float, float]]) -> bool:
    """Whether a way leads around all that stands in the street, given as (x, z, radius)."""
    times = np.linspace(walk.times_s[0], walk.end_s, 60)
    spots = [walk.spot(float(time)) for time in times]
    return all(_distance(spot, (x, z)) > radius for spot in spots for x, z, radius in taken)


def _distance(a: Spot, b: Spot) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
