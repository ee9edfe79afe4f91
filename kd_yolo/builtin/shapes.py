"""Draws one easy image: a few large flat shapes in front of a plain background with some clutter."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between, pick, stream
from kd_yolo.geometry.boxes import iou_matrix

CLASS_NAMES = ("disc", "square", "triangle")
Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
_SHIFT = 4  # bits behind the point in OpenCV's coordinates
_TRIES = 20
_MAX_IOU = 0.1


@dataclass(frozen=True)
class ShapesImage:
    """An image and its truth.

    Attributes:
        image: (H,W,3) in BGR order.
        boxes_xyxy: boxes (M,4) in pixels.
        classes: class id of each box.
    """

    image: Image
    boxes_xyxy: Points
    classes: tuple[int, ...]


def draw_shapes(seed: int, split: str, index: int, size_px: int) -> ShapesImage:
    """Draws one image; the same arguments give the same image.

    Args:
        seed: of the set.
        split: such as "train".
        index: number of the image in its split.
        size_px: width and height.
    """
    rng = stream(seed, "shapes", split, index)
    image = _background(rng, size_px)
    boxes, classes = np.zeros((0, 4)), list[int]()
    for _ in range(int(rng.integers(1, 4))):
        class_id = int(rng.integers(len(CLASS_NAMES)))
        outline = _place(rng, _CORNERS[class_id], boxes, size_px)
        if outline is None:
            continue
        _fill(image, outline, _colour(rng))
        boxes, classes = np.vstack([boxes, _box(outline)]), [*classes, class_id]
    noise = rng.normal(0, between(rng, 4, 14), image.shape)
    return ShapesImage(np.clip(image + noise, 0, 255).astype(np.uint8), boxes, tuple(classes))


def _background(rng: Rng, size_px: int) -> Image:
    """A colour that runs into another one, blotches, and strokes that are no object."""
    ramp = np.linspace(0, 1, size_px)
    ramp = (ramp[:, None] if pick(rng, (True, False)) else ramp[None, :])[..., None] * np.ones((size_px, size_px, 1))
    image = _colour(rng) * (1 - ramp) + _colour(rng) * ramp
    blotches = cv2.resize(rng.normal(0, 18, (6, 6, 3)), (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    canvas: Image = np.clip(image + blotches, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        ends = rng.uniform(0, size_px, (2, 2)).round().astype(int)
        cv2.line(
            canvas, ends[0].tolist(), ends[1].tolist(), _colour(rng).tolist(), int(rng.integers(1, 4)), cv2.LINE_AA
        )
    return np.asarray(canvas, np.uint8)


def _colour(rng: Rng) -> npt.NDArray[np.float64]:
    return rng.uniform(30, 225, 3)


def _place(rng: Rng, corners: int, others: Points, size_px: int) -> Points | None:
    """A polygon that is turned, and moved to where it hides no other; None where there is no room."""
    for _ in range(_TRIES):
        radius = size_px * between(rng, 0.13, 0.25)
        turn, stretch = between(rng, 0, 2 * np.pi), between(rng, 0.75, 1.0)
        points: Points = _polygon(corners) * radius * (1, stretch)
        points = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points += rng.uniform(radius, size_px - 1 - radius, 2)
        if not (iou_matrix(_box(points)[None], others) > _MAX_IOU).any():
            return np.asarray(points)
    return None


def _box(points: Points) -> Points:
    """Of the pixels that are drawn: OpenCV's coordinates are centres of pixels, and the rim is one pixel wide."""
    return np.concatenate([points.min(0), points.max(0) + 1])


def _fill(image: Image, points: Points, colour: npt.NDArray[np.float64]) -> None:
    fixed = [(points * (1 << _SHIFT)).round().astype(np.int32)]
    cv2.fillPoly(image, fixed, colour.tolist(), cv2.LINE_AA, _SHIFT)
    cv2.polylines(image, fixed, True, (colour * 0.6).tolist(), 1, cv2.LINE_AA, _SHIFT)


def _polygon(corners: int) -> Points:
    """A regular polygon on the unit circle."""
    angles = np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], 1)


_CORNERS = (48, 4, 3)  # of each class; a disc is a polygon with many
