"""From (preset, seed, split, index) to one drawn image: decides which camera looks and who may appear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kd_yolo.base.rng import stream
from kd_yolo.builtin.presets import SPLITS, StreetPreset
from kd_yolo.builtin.street.backdrop import Backdrop, make_backdrop
from kd_yolo.builtin.street.camera import Camera, make_camera
from kd_yolo.builtin.street.render import Frame, Truth, render_scene
from kd_yolo.builtin.street.scene import plan_scene

VISIBLE_SHARE_MIN = 0.25
LONG_SIDE_MIN_PX = 8
SHORT_SIDE_MIN_PX = 3


@dataclass(frozen=True)
class StreetImage:
    """One drawn image: where it belongs, who took it, "day", "dusk" or "night", and what is in it."""

    split: str
    index: int
    camera_id: int
    time: str
    frame: Frame


def draw_images(preset: StreetPreset, seed: int, camera_id: int) -> Iterator[StreetImage]:
    """Draws all images of one camera, on its empty street."""
    camera = make_camera(seed, camera_id, preset.width_px, preset.height_px)
    backdrop = make_backdrop(camera, seed)
    for split in SPLITS:
        for index in range(camera_id, preset.num_images(split), preset.cameras):
            yield draw_image(preset, seed, split, index, camera, backdrop)


def draw_image(
    preset: StreetPreset, seed: int, split: str, index: int, camera: Camera, backdrop: Backdrop
) -> StreetImage:
    """Draws one image; it depends on nothing but the arguments; camera and backdrop follow from seed and index."""
    rng = stream(seed, "picture", split, index)
    scene = plan_scene(rng, camera, seed=seed, identities=preset.identity_range(split))
    return StreetImage(split, index, camera.id, scene.light.time, render_scene(scene, backdrop, rng))


def is_labelled(truth: Truth) -> bool:
    """Whether an object is in the labels: enough of it is seen and its box is large enough."""
    x0, y0, x1, y1 = truth.visible_xyxy
    short, long = sorted((x1 - x0, y1 - y0))
    return truth.visible_share >= VISIBLE_SHARE_MIN and long >= LONG_SIDE_MIN_PX and short >= SHORT_SIDE_MIN_PX
