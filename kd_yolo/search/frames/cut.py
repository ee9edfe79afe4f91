"""From boxes to crops, by rules; what is left out is counted by its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np

from kd_yolo.search.frames.frame_types import Crop, Floats, Frame, ImageHW3, People
from kd_yolo.search.settings import CropRules

EMPTY, SCORE, SMALL, TRUNCATED, BLURRED = REASONS = ("empty", "score", "small", "truncated", "blurred")
BORDER_PX = 1  # a box as near to a border as this touches it
SHARPNESS_PX = 128  # height at which sharpness is measured
GREY = 114  # beyond the frame, as in the letterbox of the detector


@dataclass(frozen=True)
class Box:
    """Corners in whole pixels; the right and lower ones are the first pixels outside."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """In pixels."""
        return self.y2 - self.y1


def cut(frame: Frame, people: People, rules: CropRules, rejected: Counter[str] | None = None) -> list[Crop]:
    """Cuts people out of a frame.

    Args:
        frame: the image; it is not kept.
        people: their boxes, which may reach beyond the frame or be empty.
        rules: which boxes count, and what is cut out.
        rejected: counts the boxes that are left out, by reason (:data:`REASONS`).

    Returns:
        The crops in the order of the boxes.
    """
    crops = []
    for place, corners_4 in enumerate(people.boxes_xyxy_m4):
        box, score = clip(corners_4, frame.image_hw3.shape), float(people.scores_m[place])
        reason = reject(frame.image_hw3, box, score, rules)
        if reason is None:
            crops.append(_crop(frame, people.track_of(place), box, score, rules))
        elif rejected is not None:
            rejected[reason] += 1
    return crops


def clip(corners_4: Floats, shape: tuple[int, ...]) -> Box:
    """A box in whole pixels of a frame; the empty one at the origin for corners that are no numbers."""
    if not np.isfinite(corners_4).all():
        return Box(0, 0, 0, 0)
    height, width = shape[:2]
    x1, y1, x2, y2 = (int(value) for value in np.clip(corners_4, 0, [width, height, width, height]).round())
    return Box(x1, y1, x2, y2)


def reject(image_hw3: ImageHW3, box: Box, score: float, rules: CropRules) -> str | None:
    """Why a box is left out; None when it counts."""
    if box.width <= 0 or box.height <= 0:
        return EMPTY
    if score < rules.conf:
        return SCORE
    if box.width < rules.min_width or box.height < rules.min_height:
        return SMALL
    if rules.max_truncated is not None and touched(box, image_hw3.shape) > rules.max_truncated:
        return TRUNCATED
    if rules.blur_min and sharpness(image_hw3[box.y1 : box.y2, box.x1 : box.x2]) < rules.blur_min:
        return BLURRED
    return None


def touched(box: Box, shape: tuple[int, ...]) -> int:
    """How many of the frame's borders a box touches."""
    height, width = shape[:2]
    gaps = (box.x1, box.y1, width - box.x2, height - box.y2)
    return sum(gap <= BORDER_PX for gap in gaps)


def sharpness(image_hw3: ImageHW3) -> float:
    """Variance of the Laplacian of the greys, at 128 pixels in height."""
    grey = cv2.cvtColor(np.ascontiguousarray(image_hw3), cv2.COLOR_BGR2GRAY)
    width = max(1, round(grey.shape[1] * SHARPNESS_PX / grey.shape[0]))
    scaled = cv2.resize(grey, (width, SHARPNESS_PX), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(scaled, cv2.CV_64F).var())


def widen(box: Box, rules: CropRules, shape: tuple[int, ...]) -> Box:
    """What is cut out for a box: padded within the frame, then grown to the aspect, beyond the frame if need be."""
    height, width = shape[:2]
    dx, dy = round(box.width * rules.pad), round(box.height * rules.pad)
    padded = Box(max(0, box.x1 - dx), max(0, box.y1 - dy), min(width, box.x2 + dx), min(height, box.y2 + dy))
    if rules.aspect is None:
        return padded
    wanted_w = max(padded.width, round(padded.height / rules.aspect))
    wanted_h = max(padded.height, round(padded.width * rules.aspect))
    x1, y1 = padded.x1 - (wanted_w - padded.width) // 2, padded.y1 - (wanted_h - padded.height) // 2
    return Box(x1, y1, x1 + wanted_w, y1 + wanted_h)


def _crop(frame: Frame, track: int, box: Box, score: float, rules: CropRules) -> Crop:
    wide = widen(box, rules, frame.image_hw3.shape)
    return Crop(
        frame.source, frame.index, frame.seconds, frame.camera, track, (box.x1, box.y1, box.x2, box.y2), score,
        _pixels(frame.image_hw3, wide),
    )  # fmt: skip


def _pixels(image_hw3: ImageHW3, box: Box) -> ImageHW3:
    """RGB pixels of a box, a copy; grey beyond the frame."""
    height, width = image_hw3.shape[:2]
    inside = Box(max(0, box.x1), max(0, box.y1), min(width, box.x2), min(height, box.y2))
    found: ImageHW3 = cv2.cvtColor(image_hw3[inside.y1 : inside.y2, inside.x1 : inside.x2], cv2.COLOR_BGR2RGB)
    if inside == box:
        return found
    whole = np.full((box.height, box.width, 3), GREY, np.uint8)
    top, left = inside.y1 - box.y1, inside.x1 - box.x1
    whole[top : top + inside.height, left : left + inside.width] = found
    return whole
