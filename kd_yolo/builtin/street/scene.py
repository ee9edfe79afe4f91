"""Who stands where: a scene is planned from random numbers alone, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.street.actors import Actor, ClutterLook, DogMoment, FigureLook, PersonLook, ScooterLook
from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.draw.car import sample_car
from kd_yolo.builtin.street.draw.clutter import CLUTTER
from kd_yolo.builtin.street.draw.cycle import sample_cycle
from kd_yolo.builtin.street.draw.dog import sample_dog
from kd_yolo.builtin.street.draw.sign import sample_sign
from kd_yolo.builtin.street.fills import grey, varied
from kd_yolo.builtin.street.identity import Identity, make_identity
from kd_yolo.builtin.street.light import Light, sample_light
from kd_yolo.builtin.street.plan import Plan
from kd_yolo.builtin.street.pose import Pose, sample_pose

_CAR_NEAREST_M = 5.0


@dataclass(frozen=True)
class Scene:
    """One moment of a street, ready to be drawn."""

    camera: Camera
    light: Light
    actors: tuple[Actor, ...]


def plan_scene(rng: Rng, camera: Camera, *, seed: int, identities: Sequence[int]) -> Scene:
    """Plans one scene.

    Args:
        rng: the scene's own stream.
        camera: who looks.
        seed: of the world, for the looks of the identities.
        identities: numbers of the people who may appear.
    """
    order = [int(identities[i]) for i in rng.permutation(len(identities))]
    plan = Plan(rng, camera, sample_light(rng), seed, order)
    _signs(plan)
    _cars(plan)
    _cycles(plan)
    _figures(plan)
    _people(plan)
    _dogs(plan)
    _clutter(plan)
    return Scene(camera, plan.light, tuple(plan.actors))


def _cars(plan: Plan) -> None:
    rng, street = plan.rng, plan.camera.street
    lights_on = plan.light.time != "day"
    if street.kind != "plaza" and chance(rng, 0.45):
        _parked_row(plan)
    for _ in range(pick(rng, (0, 1, 2), (4, 4, 2))):
        spot = plan.spot("road", 2.3, nearest_m=_CAR_NEAREST_M)
        if spot is None:
            return
        along = {"across": np.pi / 2, "along": 0.0, "plaza": between(rng, 0, np.pi)}[street.kind]
        yaw = along + np.pi * chance(rng, 0.5) + between(rng, -0.25, 0.25)
        look = sample_car(rng, lights_on=lights_on)
        plan.add(Actor(look, *spot, yaw, plan.blur(between(rng, 0, 7), spot[1], yaw)), 2.3)


def _parked_row(plan: Plan) -> None:
    rng, street = plan.rng, plan.camera.street
    kerb = street.road_to_m - 1.1 if chance(rng, 0.6) else street.road_from_m + 1.1
    start, turn = between(rng, -8, 8), np.pi * chance(rng, 0.5)
    for step in range(int(rng.integers(2, 5))):
        place = start + step * between(rng, 5.1, 6.5)
        x, z = (place, kerb) if street.kind == "across" else (kerb, abs(place) + 5)
        yaw = turn + (np.pi / 2 if street.kind == "across" else 0.0) + between(rng, -0.06, 0.06)
        if (
            z >= _CAR_NEAREST_M
            and plan.is_free(x, z, 2.3)
            and abs(x) < 0.7 * plan.camera.width_px / plan.camera.focal_px * z
        ):
            plan.add(Actor(sample_car(rng, lights_on=False), x, z, yaw), 2.3)


def _next_person(plan: Plan, pose: Pose) -> PersonLook | None:
    return PersonLook(make_identity(plan.seed, plan.people.pop()), pose) if plan.people else None


def _cycles(plan: Plan) -> None:
    rng = plan.rng
    for _ in range(pick(rng, (0, 1, 2, 3), (3, 4, 2, 1))):
        ridden = chance(rng, 0.45)
        spot = plan.spot("any" if ridden else "walk", 0.8, reach=0.85)
        if spot is None:
            return
        look = ScooterLook(sample_cycle(rng)) if chance(rng, 0.25) else sample_cycle(rng)
        yaw = plan.heading() if ridden else between(rng, 0, 2 * np.pi)
        blur = plan.blur(3.0, spot[1], yaw) if ridden else 0
        index = plan.add(Actor(look, *spot, yaw, blur), 0.8)
        rider = _next_person(plan, Pose("ride", between(rng, 0, 2 * np.pi))) if ridden else None
        if rider is not None:
            parent = plan.add(Actor(rider, spot[0], spot[1] - 0.01, yaw, blur), 0.0)
            plan.actors[index] = replace(plan.actors[index], parent=parent)
        elif not ridden and chance(rng, 0.35):
            plan.add(Actor(sample_cycle(rng), spot[0] + 0.3, spot[1] + 0.45, yaw + between(rng, -0.1, 0.1)), 0.4)


def _people(plan: Plan) -> None:
    rng = plan.rng
    crowd = chance(rng, 0.28)
    centre = plan.spot("any", 1.0, nearest_m=5.0, reach=0.8) if crowd else None
    for _ in range(int(rng.integers(5, 10)) if crowd else int(rng.integers(0, 6))):
        spot = plan.near(centre, 0.9) if centre else plan.spot("walk" if chance(rng, 0.75) else "any", 0.28)
        look = _next_person(plan, sample_pose(rng))
        if spot is not None and look is not None and plan.is_free(*spot, 0.26):
            _stand_or_sit(plan, look, spot)


def _stand_or_sit(plan: Plan, look: PersonLook, spot: tuple[float, float]) -> None:
    rng, (x, z) = plan.rng, spot
    yaw = plan.heading() if look.pose.kind == "walk" else between(rng, 0, 2 * np.pi)
    if chance(rng, 0.1):
        plan.add(Actor(ClutterLook("bench", int(rng.integers(1000))), x, z, yaw), 0.5)
        look = replace(look, pose=Pose("sit", between(rng, 0, 6)))
        plan.add(
            Actor(look, x + between(rng, -0.4, 0.4) * float(np.cos(yaw)), z - 0.1 * float(np.cos(yaw)) - 0.01, yaw), 0.3
        )
        return
    blur = plan.blur(1.4, z, yaw) if look.pose.kind == "walk" else 0
    plan.add(Actor(look, x, z, yaw, blur), 0.28)


def _can_lead(plan: Plan, actor: Actor) -> bool:
    """Whether this is a pedestrian near enough for a dog to be seen."""
    on_foot = isinstance(actor.look, PersonLook) and actor.look.pose.kind in ("walk", "stand")
    return on_foot and actor.z_m < 0.6 * plan.camera.depth_range_m[1]


def _dogs(plan: Plan) -> None:
    rng = plan.rng
    owners = [i for i, a in enumerate(plan.actors) if _can_lead(plan, a)]
    for _ in range(pick(rng, (0, 1, 2), (3, 4, 3))):
        owner = pick(rng, owners) if owners and chance(rng, 0.6) else -1
        dog = DogMoment(sample_dog(rng), pick(rng, ("stand", "sit", "sniff"), (6, 2, 2)), between(rng, 0, 2 * np.pi))
        spot: tuple[float, float] | None = plan.spot("any", 0.4, reach=0.55)
        yaw = between(rng, 0, 2 * np.pi)
        if owner >= 0:
            master = plan.actors[owner]
            spot = master.x_m + between(rng, -1.1, 1.1), max(2.5, master.z_m + between(rng, -0.8, 0.4))
            yaw = master.yaw + between(rng, -0.8, 0.8)
        if spot is not None and plan.is_free(*spot, 0.2):
            plan.add(Actor(dog, *spot, yaw, plan.blur(1.2, spot[1], yaw), owner), 0.4)


def _signs(plan: Plan) -> None:
    rng = plan.rng
    for _ in range(pick(rng, (0, 1, 2, 3), (3, 4, 3, 2))):
        spot = plan.spot("walk", 0.3, reach=0.8)
        if spot is None:
            return
        look = replace(sample_sign(rng), reversed=chance(rng, 0.15))
        plan.add(Actor(look, *spot, between(rng, -0.9, 0.9)), 0.3)
        if look.height_m > 1.8 and chance(rng, 0.25):  # a second plate on the same pole
            below = replace(
                sample_sign(rng), height_m=look.height_m - 0.85, radius_m=look.radius_m, reversed=look.reversed
            )
            plan.add(Actor(below, spot[0], spot[1] + 0.02, plan.actors[-1].yaw), 0.0)


def _figures(plan: Plan) -> None:
    rng = plan.rng
    for _ in range(pick(rng, (0, 1, 2), (5, 4, 1))):
        spot = plan.spot("walk", 0.5)
        if spot is None:
            return
        # Looks from beyond the identities, so that no poster shows anyone of the data.
        who: Identity = make_identity(plan.seed, 1_000_000 + int(rng.integers(1000)))
        kind = pick(rng, ("statue", "dummy", "poster"))
        if kind == "statue":
            who = who.dyed(varied(rng, pick(rng, (grey(110), grey(170), (90, 110, 90), (60, 90, 120)))))
        plan.add(Actor(FigureLook(kind, who, sample_pose(rng)), *spot, between(rng, -0.7, 0.7)), 0.5)


def _clutter(plan: Plan) -> None:
    rng = plan.rng
    kinds = sorted(CLUTTER)
    for _ in range(int(rng.integers(3, 10))):
        kind = pick(rng, kinds)
        large = kind in ("skip", "kiosk")
        spot = plan.spot("any" if large else "walk", 1.6 if large else 0.4, nearest_m=_CAR_NEAREST_M if large else 0.0)
        if spot is not None:
            turn = (
                between(rng, 0, 2 * np.pi)
                if kind not in ("clock", "mirror", "advert", "traffic_light")
                else between(rng, -0.8, 0.8)
            )
            plan.add(Actor(ClutterLook(kind, int(rng.integers(100_000))), *spot, turn), 1.6 if large else 0.4)
