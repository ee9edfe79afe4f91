"""What several cameras see while the same people walk from one to the other: planned first, drawn frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, stream
from kd_yolo.builtin.street.actors import Actor
from kd_yolo.builtin.street.backdrop import make_backdrop
from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.draw.car import CarLook, sample_car
from kd_yolo.builtin.street.draw.cycle import sample_cycle
from kd_yolo.builtin.street.identity import Identity, make_identity
from kd_yolo.builtin.street.light import Light, sample_light
from kd_yolo.builtin.street.plan import Plan
from kd_yolo.builtin.street.render import Frame, render_scene
from kd_yolo.builtin.street.scene import Scene
from kd_yolo.builtin.street.sighting import adapted, add_clutter, make_tinted_camera
from kd_yolo.builtin.street.walk import REACH, Walk, actor_at, half_width_m, keeps_clear, plan_walk, sample_gait

FIRST_CAMERA = 1000  # no other set has these cameras
_TOGETHER = 0.25  # share of the people who walk beside the one before
_STAYS = 0.2  # share of the visits after which a person comes back to the same camera
_GAP_S = (0.5, 3.0)  # between two visits
_FIRST_S = (-6.0, 3.0)  # when somebody's first visit begins: some are in the first frame already
_TRIES = 20
_CAR_EVERY_S = 9.0
_CAR_M = 5.0  # length: farther beside the image nothing is seen of it
_CAR_SPEED_MPS = (5.0, 9.0)


@dataclass(frozen=True)
class View:
    """What one camera sees over the whole time.

    Args:
        camera: who looks.
        light: when.
        standing: furniture, parked cars and bicycles, which stay where they are.
        walks: visits of people.
        cars: passing cars, each with its time in the middle of the image and its speed to the right.
    """

    camera: Camera
    light: Light
    standing: tuple[Actor, ...]
    walks: tuple[Walk, ...]
    cars: tuple[tuple[Actor, float, float], ...]


def clip_cameras(seed: int, number: int, width_px: int, height_px: int) -> list[Camera]:
    """The first cameras on which people can come in from both sides: no houses stand along the way."""
    cameras = (make_tinted_camera(seed, place, width_px, height_px) for place in count(FIRST_CAMERA))
    return list(islice((camera for camera in cameras if camera.street.kind != "along"), number))


def plan_views(cameras: Sequence[Camera], people: Sequence[int], seconds: float, seed: int) -> list[View]:
    """Plans who is seen by which camera when; nobody is at two places at once.

    Args:
        cameras: all of them.
        people: numbers of the identities.
        seconds: length of the clip.
        seed: of everything.
    """
    plans = [_furnish(camera, seed) for camera in cameras]
    visits = list(_tours(plans, people, seconds, seed))
    return [
        View(
            adapted(plan.camera, plan.light), plan.light, tuple(plan.actors),
            tuple(walk for place, walk in visits if place == number), _passing_cars(plan, seconds),
        )
        for number, plan in enumerate(plans)
    ]  # fmt: skip


def draw_view(view: View, frames: int, fps: float, seed: int) -> Iterator[Frame]:
    """Draws a camera's frames one after the other; each depends on its own number only."""
    backdrop = make_backdrop(view.camera, seed)
    who = {walk.person: make_identity(seed, walk.person) for walk in view.walks}
    for index in range(frames):
        rng = stream(seed, "clip-frame", view.camera.id, index)
        yield render_scene(_scene(view, who, index / fps), backdrop, rng)


def _scene(view: View, who: dict[int, Identity], time_s: float) -> Scene:
    exposure_s = 0.025 * (1 + view.light.darkness)
    seen = [actor_at(walk, who[walk.person], time_s, view.camera, exposure_s) for walk in view.walks]
    people = [actor for actor in seen if actor is not None]
    return Scene(view.camera, view.light, (*view.standing, *_cars_at(view, time_s, exposure_s), *people))


def _cars_at(view: View, time_s: float, exposure_s: float) -> Iterator[Actor]:
    """The passing cars that are in the image."""
    for car, middle_s, speed in view.cars:
        x, px_per_m = (time_s - middle_s) * speed, view.camera.focal_px / car.z_m
        if abs(x) < half_width_m(view.camera, car.z_m) + _CAR_M:
            yield replace(car, x_m=x, motion_px=int(abs(speed) * exposure_s * px_per_m))


def _furnish(camera: Camera, seed: int) -> Plan:
    """The street with all that stands in it."""
    rng = stream(seed, "clip-street", camera.id)
    plan = Plan(rng, camera, _light(rng), seed, [])
    for _ in range(int(rng.integers(4, 7))):
        add_clutter(plan, plan.spot("walk", 0.5, nearest_m=1.2 * camera.depth_range_m[0], reach=REACH))
    for _ in range(int(rng.integers(1, 3))):
        spot = plan.spot("walk", 0.8, reach=0.85)
        if spot is not None:
            plan.add(Actor(sample_cycle(rng), *spot, between(rng, 0, 2 * np.pi)), 0.8)
    spot = plan.spot("road", 2.3, nearest_m=max(5.0, 0.6 * camera.depth_range_m[1]))
    if spot is not None and chance(rng, 0.6):
        plan.add(Actor(sample_car(rng, lights_on=False), *spot, np.pi / 2 + between(rng, -0.1, 0.1)), 2.3)
    return plan


def _light(rng: Rng) -> Light:
    """By day or at dusk: at night a lamp beside the way would outshine who walks under it."""
    return next(light for light in iter(lambda: sample_light(rng), None) if light.time != "night")


def _passing_cars(plan: Plan, seconds: float) -> tuple[tuple[Actor, float, float], ...]:
    """Cars that cross the image on the far side of the road."""
    street, rng = plan.camera.street, plan.rng
    if street.kind != "across":
        return ()
    z = 0.3 * street.road_from_m + 0.7 * street.road_to_m
    cars = []
    for number in range(int(seconds / _CAR_EVERY_S)):
        right = 1 if chance(rng, 0.5) else -1
        look: CarLook = sample_car(rng, lights_on=plan.light.time != "day")
        middle_s = (number + between(rng, 0.2, 0.8)) * _CAR_EVERY_S
        cars.append((Actor(look, 0.0, z, right * np.pi / 2), middle_s, right * between(rng, *_CAR_SPEED_MPS)))
    return tuple(cars)


def _tours(plans: Sequence[Plan], people: Sequence[int], seconds: float, seed: int) -> Iterator[tuple[int, Walk]]:
    """All visits as (place of the camera, walk)."""
    before: list[tuple[int, Walk]] = []
    for person in people:
        rng = stream(seed, "clip-person", person)
        if before and chance(rng, _TOGETHER):
            aside = between(rng, 0.4, 0.7) * (1 if chance(rng, 0.5) else -1), between(rng, -0.35, 0.35)
            gait = sample_gait(rng)
            yield from ((place, walk.beside(person, aside, gait)) for place, walk in before)
            before = []
            continue
        before = list(_tour(rng, plans, person, seconds))
        yield from before


def _tour(rng: Rng, plans: Sequence[Plan], person: int, seconds: float) -> Iterator[tuple[int, Walk]]:
    """One person's visits, one after the other until the clip ends."""
    place, time_s = person % len(plans), between(rng, *_FIRST_S)
    while time_s < seconds:
        walk = _clear_walk(rng, plans[place], person, time_s)
        yield place, walk
        time_s = walk.end_s + between(rng, *_GAP_S)
        if not chance(rng, _STAYS):
            place = (place + 1 + int(rng.integers(max(1, len(plans) - 1)))) % len(plans)


def _clear_walk(rng: Rng, plan: Plan, person: int, start_s: float) -> Walk:
    """A way around the furniture, as far as one is found."""
    for _ in range(_TRIES):
        walk = plan_walk(rng, plan.camera, person, start_s)
        if keeps_clear(walk, plan.taken):
            break
    return walk
