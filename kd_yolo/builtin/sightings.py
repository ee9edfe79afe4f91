"""From (preset, seed, split, camera) to crops of people: scenes are drawn until everybody was seen often enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between, chance, pick, stream
from kd_yolo.builtin.presets import CropsPreset
from kd_yolo.builtin.street.backdrop import make_backdrop
from kd_yolo.builtin.street.render import Box, Frame, Truth, render_scene
from kd_yolo.builtin.street.sighting import make_tinted_camera, plan_sighting
from kd_yolo.data.market_name import DISTRACTOR, JUNK, market_stem

VISIBLE_SHARE_MIN = 0.45
JUNK_SHARE_MIN = 0.12
HEIGHT_MIN_PX = 40
WIDTH_MIN_PX = 14
_GROUP = 5  # people in a scene
_SCENES_MAX = 12  # for each that a perfect draw would need
_JITTER = 0.08  # of the box: a detector's box is never exact


@dataclass(frozen=True)
class Sighting:
    """One crop.

    Args:
        split: "train" or "test".
        identity: Market-1501's number: from 1, 0 for a distractor, -1 for junk (too little of a person).
        camera: from 1.
        scene: number of the scene among those of split and camera.
        place: of the person among the objects of the scene.
        image: (h, w, 3), BGR uint8.
    """

    split: str
    identity: int
    camera: int
    scene: int
    place: int
    image: npt.NDArray[np.uint8]

    @property
    def stem(self) -> str:
        """Name in the manner of Market-1501."""
        return market_stem(self.identity, self.camera, self.scene, box=self.place)


def draw_sightings(preset: CropsPreset, seed: int, split: str, camera_id: int) -> Iterator[Sighting]:
    """Draws the crops of one camera and split; they depend on nothing but the arguments.

    Everybody comes ``preset.shots`` times, each time in another scene; the gallery gets distractors and junk besides.
    """
    camera = make_tinted_camera(seed, camera_id, preset.width_px, preset.height_px)
    backdrop = make_backdrop(camera, seed)
    left = dict.fromkeys(preset.identity_range(split), preset.shots)
    strangers = preset.identity_range("distractors") if split == "test" else range(0)
    for scene in range(_SCENES_MAX * len(left) * preset.shots // _GROUP):
        missing = [number for number, count in left.items() if count]
        if not missing:
            return
        rng = stream(seed, "sighting", split, camera_id, scene)
        people = [missing[i] for i in rng.permutation(len(missing))[:_GROUP]]
        if strangers and chance(rng, 0.4):
            people.append(pick(rng, strangers))
        frame = render_scene(plan_sighting(rng, camera, seed=seed, people=people), backdrop, rng)
        for place, truth in enumerate(frame.objects):
            identity = _identity(truth, preset, split)
            if identity is None:
                continue
            if identity > 0:
                left[truth.identity] -= 1
            yield Sighting(split, identity, camera_id + 1, scene, place, _cut(frame, truth.visible_xyxy, rng))


def _identity(truth: Truth, preset: CropsPreset, split: str) -> int | None:
    """The number that a crop gets; None when there is none of it."""
    x0, y0, x1, y1 = truth.visible_xyxy
    if truth.class_name != "person" or x1 - x0 < WIDTH_MIN_PX or y1 - y0 < HEIGHT_MIN_PX:
        return None
    if truth.visible_share < VISIBLE_SHARE_MIN:
        return JUNK if split == "test" and truth.visible_share >= JUNK_SHARE_MIN else None
    return DISTRACTOR if truth.identity in preset.identity_range("distractors") else truth.identity + 1


def _cut(frame: Frame, box_xyxy: Box, rng: Rng) -> npt.NDArray[np.uint8]:
    """The box, moved a little at each side."""
    height, width = frame.image.shape[:2]
    x0, y0, x1, y1 = box_xyxy
    w, h = x1 - x0, y1 - y0
    left, top = (edge - between(rng, -0.3, 1.0) * _JITTER * size for edge, size in ((x0, w), (y0, h)))
    right, bottom = (edge + between(rng, -0.3, 1.0) * _JITTER * size for edge, size in ((x1, w), (y1, h)))
    rows = slice(max(0, round(top)), min(height, round(bottom)))
    return frame.image[rows, max(0, round(left)) : min(width, round(right))]
