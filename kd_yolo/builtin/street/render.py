"""A planned scene to an image and the truth about everything in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng
from kd_yolo.builtin.street.actors import Actor, ClassName, ClutterLook, sketch_actor
from kd_yolo.builtin.street.backdrop import Backdrop
from kd_yolo.builtin.street.camera import Camera, expose
from kd_yolo.builtin.street.draw.car import CarLook
from kd_yolo.builtin.street.fills import Floats
from kd_yolo.builtin.street.light import Lamp, Light, backdrop_depth, hazed, light_up, rain
from kd_yolo.builtin.street.raster import Sprite, rasterise
from kd_yolo.builtin.street.scene import Scene

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
Mask = npt.NDArray[np.bool_]
_OCCLUDER_SHARE_MIN = 0.02


@dataclass(frozen=True)
class Truth:
    """One object of an image.

    Args:
        class_name: its detection class.
        identity: number of the person, -1 for other classes.
        full_xyxy: box of the whole object, also where it is hidden or outside the image.
        visible_xyxy: box of what is seen; all zero when nothing is.
        visible_share: seen pixels over all pixels of the object, 0..1.
        outside_share: share of its pixels outside the image.
        occluders: indices of the objects that hide part of it; furniture hides too but is no object.
        parent: index of the person it belongs to, -1 for none.
        depth_m: distance from the camera.
        yaw: its direction, 0 faces the camera.
    """

    class_name: ClassName
    identity: int
    full_xyxy: Box
    visible_xyxy: Box
    visible_share: float
    outside_share: float
    occluders: tuple[int, ...]
    parent: int
    depth_m: float
    yaw: float


@dataclass(frozen=True)
class Frame:
    """An image (h, w, 3), BGR uint8, and its objects."""

    image: npt.NDArray[np.uint8]
    objects: tuple[Truth, ...]


def render_scene(scene: Scene, backdrop: Backdrop, rng: Rng) -> Frame:
    """Draws a scene.

    Args:
        scene: who stands where.
        backdrop: the empty street of the scene's camera.
        rng: for rain and sensor noise.
    """
    camera, light = scene.camera, scene.light
    canvas = hazed(backdrop.image.copy(), 1.0, light, backdrop_depth(camera))
    lit = backdrop.lit.copy()
    owner = np.full(canvas.shape[:2], -1, np.int32)
    sprites: dict[int, Sprite] = {}
    for index in sorted(range(len(scene.actors)), key=lambda i: -scene.actors[i].z_m):
        actor = scene.actors[index]
        sprite = rasterise(sketch_actor(actor, camera).shapes, actor.motion_px)
        sprites[index] = sprite
        _cast_shadow(canvas, sprite, light)
        _blend(canvas, lit, owner, sprite, index, light, actor.z_m)
    canvas = light_up(canvas, lit, light, _lamps(scene))
    if light.rain:
        canvas = rain(canvas, rng)
    image = np.round(expose(canvas, camera, rng, darkness=light.darkness)).astype(np.uint8)
    return Frame(image, _truths(scene.actors, sprites, owner))


def _window(sprite: Sprite, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image that a sprite covers, and the part of the sprite that is in the image."""
    x0, x1 = (int(np.clip(v, 0, width)) for v in (sprite.left, sprite.left + sprite.alpha.shape[1]))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (sprite.top, sprite.top + sprite.alpha.shape[0]))
    inner = slice(y0 - sprite.top, y1 - sprite.top), slice(x0 - sprite.left, x1 - sprite.left)
    return (slice(y0, y1), slice(x0, x1)), inner


def _blend(
    canvas: Floats, lit: Floats, owner: npt.NDArray[np.int32], sprite: Sprite, index: int, light: Light, z_m: float
) -> None:
    """Lays a sprite over the image and notes whose pixels these are now."""
    outer, inner = _window(sprite, *owner.shape)
    alpha = sprite.alpha[inner]
    if alpha.size == 0:
        return
    rest = 1 - alpha
    canvas[outer] = canvas[outer] * rest[..., None] + hazed(sprite.colour[inner], alpha, light, z_m)
    lit[outer] *= rest
    owner[outer][(alpha >= 0.5) | sprite.label[inner]] = index


def _cast_shadow(canvas: Floats, sprite: Sprite, light: Light) -> None:
    """A flattened, slanted silhouette by sunlight, and a dark patch under everything."""
    height, width = sprite.alpha.shape
    slant, flat = light.sun * 0.9, 0.28
    reach = int(abs(slant) * height) + 1
    offset = reach if slant < 0 else 0
    matrix = np.array([[1, -slant, slant * height + offset], [0, flat, (1 - flat) * (height - 2)]], np.float32)
    shade = np.asarray(cv2.warpAffine(sprite.alpha, matrix, (width + reach, height)))
    shadow = Sprite(sprite.left - offset, sprite.top, canvas, shade, shade > 0)
    outer, inner = _window(shadow, *canvas.shape[:2])
    if shade[inner].size:
        canvas[outer] *= 1 - (0.42 if light.sun else 0.2) * shade[inner][..., None]


def _lamps(scene: Scene) -> list[Lamp]:
    """Street lamps and headlights."""
    if scene.light.time == "day":
        return []
    lamps = []
    for actor in scene.actors:
        scale = scene.camera.focal_px / actor.z_m
        if isinstance(actor.look, ClutterLook) and actor.look.kind == "lamp":
            lamps.append(_lamp(scene.camera, actor, 3.2, 4.0 * scale, 0.9))
        elif isinstance(actor.look, CarLook) and actor.look.lights_on and np.cos(actor.yaw) > 0.3:
            lamps.append(_lamp(scene.camera, _nose(actor, actor.look), 0.6, 2.0 * scale, 0.8))
    return lamps


def _nose(actor: Actor, look: CarLook) -> Actor:
    """The car moved so that its middle is where its front was."""
    half = look.length_m / 2
    return replace(
        actor, x_m=actor.x_m + half * float(np.sin(actor.yaw)), z_m=actor.z_m - half * float(np.cos(actor.yaw))
    )


def _lamp(camera: Camera, actor: Actor, height_m: float, reach_px: float, strength: float) -> Lamp:
    px = camera.project(np.array([[actor.x_m, height_m, actor.z_m]], np.float32))[0][0]
    return Lamp(float(px[0]), float(px[1]), reach_px, strength)


def _truths(actors: tuple[Actor, ...], sprites: dict[int, Sprite], owner: npt.NDArray[np.int32]) -> tuple[Truth, ...]:
    """The truth about every actor that has a class and at least one pixel, in the order of the actors."""
    kept = [i for i, actor in enumerate(actors) if actor.class_name is not None and sprites[i].label.any()]
    number = {index: place for place, index in enumerate(kept)}
    return tuple(_truth(actors, i, sprites[i], owner, number) for i in kept)


def _truth(
    actors: tuple[Actor, ...], index: int, sprite: Sprite, owner: npt.NDArray[np.int32], number: dict[int, int]
) -> Truth:
    actor, total = actors[index], int(sprite.label.sum())
    outer, inner = _window(sprite, *owner.shape)
    inside, owned = sprite.label[inner], owner[outer]
    seen = inside & (owned == index)
    hiding, counts = np.unique(owned[inside & (owned != index)], return_counts=True)
    occluders = [
        number[int(i)]
        for i, n in zip(hiding, counts, strict=True)
        if int(i) in number and n >= _OCCLUDER_SHARE_MIN * total
    ]
    assert actor.class_name is not None
    return Truth(
        class_name=actor.class_name,
        identity=actor.identity,
        full_xyxy=_box(sprite.label, sprite.left, sprite.top),
        visible_xyxy=_box(seen, outer[1].start, outer[0].start),
        visible_share=float(seen.sum()) / total,
        outside_share=1 - float(inside.sum()) / total,
        occluders=tuple(occluders),
        parent=number.get(actor.parent, -1),
        depth_m=actor.z_m,
        yaw=actor.yaw,
    )


def _box(mask: Mask, left: int, top: int) -> Box:
    """The smallest box around a mask whose first pixel is at (left, top); zeros when it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        return 0.0, 0.0, 0.0, 0.0
    return float(left + columns[0]), float(top + rows[0]), float(left + columns[-1] + 1), float(top + rows[-1] + 1)
