"""Scenes for re-identification: the same people pass every camera, near enough to be told apart, partly hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick, stream
from kd_yolo.builtin.street.actors import Actor, ClutterLook, PersonLook
from kd_yolo.builtin.street.camera import Camera, make_camera
from kd_yolo.builtin.street.draw.car import sample_car
from kd_yolo.builtin.street.draw.clutter import CLUTTER
from kd_yolo.builtin.street.identity import make_identity
from kd_yolo.builtin.street.light import Light, sample_light
from kd_yolo.builtin.street.plan import Plan
from kd_yolo.builtin.street.pose import sample_pose
from kd_yolo.builtin.street.scene import Scene

_REACH = 0.5  # of a camera's depth: the farthest person is about 50 px high in an image 384 px wide
_HIDDEN = 0.4  # share of the people with something in front of them
_ADAPTATION = 0.6  # 1 would make night as bright as day
_TOGETHER = 0.3  # share of the people who stand beside the one before


def make_tinted_camera(seed: int, camera_id: int, width_px: int, height_px: int) -> Camera:
    """A camera of the street with stronger colours of its own than detection needs.

    Surveillance cameras of several makes differ by more than a photographer would bear, and colours that stay the same
    from camera to camera would give people away.
    """
    rng = stream(seed, "tint", camera_id)
    warm, green = between(rng, -0.2, 0.2), between(rng, -0.07, 0.07)
    return replace(
        make_camera(seed, camera_id, width_px, height_px),
        gain=between(rng, 0.85, 1.35),
        gamma=between(rng, 0.65, 1.1),
        balance=(float(np.exp(-warm)), float(np.exp(green)), float(np.exp(warm))),
    )


def plan_sighting(rng: Rng, camera: Camera, *, seed: int, people: Sequence[int]) -> Scene:
    """Plans a scene in which all of ``people`` appear, as far as the street has room.

    Args:
        rng: the scene's own stream.
        camera: who looks.
        seed: of the world, for the looks of the identities.
        people: numbers of the identities.
    """
    plan = Plan(rng, camera, sample_light(rng), seed, [])
    before: tuple[float, float] | None = None
    for number in people:
        spot = plan.near(before, 0.7) if before and chance(rng, _TOGETHER) else plan.spot("any", 0.3, reach=_REACH)
        if spot is None or not plan.is_free(*spot, 0.26):
            continue
        before = spot
        _add_person(plan, number, spot)
        if chance(rng, _HIDDEN):
            _hide(plan, spot)
    for _ in range(int(rng.integers(0, 4))):
        add_clutter(plan, plan.spot("any", 0.5))
    if chance(rng, 0.3):
        _add_car(plan)
    return Scene(adapted(camera, plan.light), plan.light, tuple(plan.actors))


def adapted(camera: Camera, light: Light) -> Camera:
    """The camera as it opens up in the dark, most of the way."""
    return replace(camera, gain=camera.gain / float(np.mean(light.ambient)) ** _ADAPTATION)


def _add_person(plan: Plan, number: int, spot: tuple[float, float]) -> None:
    rng, pose = plan.rng, sample_pose(plan.rng)
    yaw = plan.heading() if pose.kind == "walk" and chance(rng, 0.5) else between(rng, 0, 2 * np.pi)
    blur = plan.blur(1.4, spot[1], yaw) if pose.kind == "walk" else 0
    plan.add(Actor(PersonLook(make_identity(plan.seed, number), pose), *spot, yaw, blur), 0.28)


def _hide(plan: Plan, spot: tuple[float, float]) -> None:
    """Puts a thing on the line of sight, a little aside."""
    x, z = spot
    nearer = between(plan.rng, 0.6, 0.9)
    aside = between(plan.rng, 0.1, 0.7) * (1 if chance(plan.rng, 0.5) else -1)
    add_clutter(plan, (x * nearer + aside, max(2.0, z * nearer)))


def add_clutter(plan: Plan, spot: tuple[float, float] | None) -> None:
    """Puts some street furniture there; nothing where there is no room."""
    if spot is not None:
        kind = pick(plan.rng, [kind for kind in sorted(CLUTTER) if kind not in ("skip", "kiosk")])
        look = ClutterLook(kind, int(plan.rng.integers(100_000)))
        plan.add(Actor(look, *spot, between(plan.rng, -0.8, 0.8)), 0.4)


def _add_car(plan: Plan) -> None:
    spot = plan.spot("road", 2.3, nearest_m=5.0)
    if spot is not None:
        yaw = (0.0 if plan.camera.street.kind == "along" else np.pi / 2) + between(plan.rng, -0.2, 0.2)
        plan.add(Actor(sample_car(plan.rng, lights_on=plan.light.time != "day"), *spot, yaw), 2.3)
