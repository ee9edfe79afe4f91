"""What stands in a street, and how each kind of it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.draw.car import CarLook, draw_car
from kd_yolo.builtin.street.draw.clutter import draw_clutter
from kd_yolo.builtin.street.draw.cycle import CycleLook, draw_bicycle, draw_scooter
from kd_yolo.builtin.street.draw.dog import DogLook, draw_dog
from kd_yolo.builtin.street.draw.person import draw_person
from kd_yolo.builtin.street.draw.sign import SignLook, draw_sign
from kd_yolo.builtin.street.fills import Fill, grey, scaled
from kd_yolo.builtin.street.identity import Identity
from kd_yolo.builtin.street.pose import Pose
from kd_yolo.builtin.street.sketch import Sketch, View
from kd_yolo.builtin.street.solids import box

CLASS_NAMES = ("person", "bicycle", "car", "dog", "sign")
ClassName = Literal["person", "bicycle", "car", "dog", "sign"]


@dataclass(frozen=True)
class PersonLook:
    """A person at one moment."""

    who: Identity
    pose: Pose


@dataclass(frozen=True)
class DogMoment:
    """A dog at one moment; see ``draw_dog``."""

    dog: DogLook
    pose: str
    phase: float


@dataclass(frozen=True)
class ScooterLook:
    """A motor scooter: not labelled."""

    cycle: CycleLook


@dataclass(frozen=True)
class FigureLook:
    """A figure that is no person: "statue", "dummy" (shop-window, without a head) or "poster"."""

    kind: str
    who: Identity
    pose: Pose


@dataclass(frozen=True)
class ClutterLook:
    """Street furniture: a key of ``CLUTTER`` and the number of its looks."""

    kind: str
    number: int


Look = PersonLook | CycleLook | CarLook | DogMoment | SignLook | ScooterLook | FigureLook | ClutterLook


@dataclass(frozen=True)
class Actor:
    """Something at a place in the street.

    Args:
        look: what it is and how it looks.
        x_m: to the right of the camera's axis.
        z_m: away from the camera.
        yaw: 0 faces the camera.
        motion_px: length of its motion blur.
        parent: index in the scene of the person it belongs to (a bicycle's rider, a dog's owner), -1 for none.
    """

    look: Look
    x_m: float
    z_m: float
    yaw: float
    motion_px: int = 0
    parent: int = -1

    @property
    def class_name(self) -> ClassName | None:
        """Its detection class; None for what is not labelled."""
        if isinstance(self.look, SignLook) and self.look.reversed:
            return None
        classes: dict[type, ClassName] = {
            PersonLook: "person", CycleLook: "bicycle", CarLook: "car", DogMoment: "dog", SignLook: "sign",
        }  # fmt: skip
        return classes.get(type(self.look))

    @property
    def identity(self) -> int:
        """Number of the person, -1 for anything else."""
        return self.look.who.id if isinstance(self.look, PersonLook) else -1


def sketch_actor(actor: Actor, camera: Camera) -> Sketch:
    """The shapes of an actor as the camera sees it."""
    sketch = Sketch(View(camera, actor.x_m, actor.z_m, actor.yaw))
    match actor.look:
        case PersonLook(who, pose):
            draw_person(sketch, who, pose)
        case CycleLook() as look:
            draw_bicycle(sketch, look)
        case CarLook() as look:
            draw_car(sketch, look)
        case DogMoment(dog, pose, phase):
            draw_dog(sketch, dog, pose, phase)
        case SignLook() as look:
            draw_sign(sketch, look)
        case ScooterLook(cycle):
            sketch.labelled = False
            draw_scooter(sketch, cycle)
        case FigureLook() as look:
            _draw_figure(sketch, look)
        case ClutterLook(kind, number):
            draw_clutter(sketch, kind, number)
    return sketch


def _draw_figure(sketch: Sketch, look: FigureLook) -> None:
    sketch.labelled = False
    if look.kind == "poster":
        _draw_poster(sketch, look)
    elif look.kind == "statue":
        box(sketch, (0.7, 0.6, 0.7), Fill(scaled(look.who.skin, 0.8)))
        draw_person(sketch, look.who, look.pose, raised_m=0.6)
    else:
        draw_person(sketch, look.who, replace(look.pose, kind="stand", arms="swing"), raised_m=0.05)
        # A dummy has no head and a stand instead of legs.
        top = look.who.height_m * 0.83
        sketch.shapes = [s for s in sketch.shapes if not _outside(sketch, s.contours[0][:, 1].mean(), 0.42 * top, top)]
        sketch.hull([((0.0, 0.05, 0.0), 0.03), ((0.0, 0.5 * top, 0.0), 0.03)], Fill(grey(60)))
        sketch.hull([((-0.2, 0.02, 0.0), 0.02), ((0.2, 0.02, 0.0), 0.02)], Fill(grey(60)))


def _outside(sketch: Sketch, row_px: float, low_m: float, high_m: float) -> bool:
    """Whether a row lies outside a band of heights at the sketch's distance."""
    camera = sketch.view.camera
    height_m = camera.height_m - (row_px - camera.horizon_px) / sketch.view.px_per_m
    return not low_m < height_m < high_m


def _draw_poster(sketch: Sketch, look: FigureLook) -> None:
    half_w, low, high = 0.6, 0.35, 2.45
    for grow, fill, z in (
        (0.06, Fill(grey(50)), -0.32),
        (0.0, Fill(look.who.top.second, look.who.bottom.colour, "split", 1.0), -0.31),
    ):
        corners = [(-half_w - grow, low - grow, z), (half_w + grow, low - grow, z)]
        sketch.face([*corners, (half_w + grow, high + grow, z), (-half_w - grow, high + grow, z)], fill)
    sketch.hull([((0.0, 0.0, -0.32), 0.06), ((0.0, low, -0.32), 0.06)], Fill(grey(50)))
    draw_person(sketch, look.who, look.pose, raised_m=0.45, size=1.75 / look.who.height_m)
