"""Draws boxes and an arrow from each box to its parent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.palette import BLUE, GREEN, VERMILION, Colour, as_bgr
from kd_yolo.geometry.boxes import Floats, as_boxes, box_areas
from kd_yolo.geometry.forest import as_parents, depths, whole_numbers

Image = npt.NDArray[np.uint8]
Rect = tuple[int, int, int, int]  # x0, y0, x1, y1
# BGR; purple and orange darker than elsewhere, and grey and brown for sky and yellow: the arrows lie on white paper.
_COLOURS: tuple[Colour, ...] = (
    *map(as_bgr, (BLUE, VERMILION, GREEN)), (140, 60, 190), (0, 140, 210), (60, 60, 60), (30, 80, 140),
)  # fmt: skip
_SIZE_PX = 900  # longer side from which on lines get thicker


def draw_relations(
    image: npt.NDArray[Any],
    boxes_xyxy: npt.ArrayLike,
    parents: npt.ArrayLike,
    *,
    classes: npt.ArrayLike | None = None,
    labels: Sequence[str] | None = None,
) -> Image:
    """Draws boxes in the colours of their classes, and from each to its parent an arrow in the parent's colour.

    An arrow starts at a dot in the middle of the child and ends on the nearest border of the parent. Outer boxes have
    thicker lines, so that boxes with a common border stay apart.

    Args:
        image: (H,W,3) in BGR order or (H,W), uint8; it is not changed.
        boxes_xyxy: (M,4) in pixels.
        parents: (M,), -1 for none.
        classes: class id (M,) of each box; without them the colour says how deep a box lies.
        labels: text of each box, such as its class name and score.

    Returns:
        A new image (H,W,3).

    Raises:
        InputError: no uint8 image, or boxes, parents, classes and labels that do not fit together.
    """
    canvas = _canvas(image)
    boxes = as_boxes(boxes_xyxy)
    owners = as_parents(parents, len(boxes))
    if labels is not None and len(labels) != len(boxes):
        raise InputError(f"{len(labels)} labels for {len(boxes)} boxes: expected one each.")
    depth = depths(owners)
    colour_ids = depth if classes is None else whole_numbers(classes, len(boxes), "classes")
    colours = [_COLOURS[int(i) % len(_COLOURS)] for i in colour_ids]
    size, unit = max(canvas.shape[:2]), _unit(canvas)
    boxes = boxes.clip(-size, 2 * size)  # OpenCV draws in 32 bit
    outer_first = np.argsort(-box_areas(boxes), kind="stable")
    for i in outer_first:
        x0, y0, x1, y1 = (round(float(v)) for v in boxes[i])
        thickness = unit * max(1, 4 - int(depth[i])) if (owners == i).any() else 2 * unit
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colours[i], thickness, cv2.LINE_AA)
    for i in outer_first[owners[outer_first] >= 0]:
        _arrow(canvas, boxes[i], boxes[owners[i]], colours[owners[i]], unit)
    if labels is not None:
        taken: list[Rect] = []
        for i in outer_first:
            taken.append(_tag(canvas, boxes[i], labels[i], colours[i], taken))
    return canvas


def _canvas(image: npt.NDArray[Any]) -> Image:
    """A copy of the image with three channels."""
    array = np.asarray(image)
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise InputError(f"image of shape {array.shape} and type {array.dtype}, expected (H,W,3) or (H,W) of uint8.")
    colour = np.repeat(array[..., None], 3, 2) if array.ndim == 2 else array
    return np.array(colour, np.uint8, order="C")


def _unit(canvas: Image) -> int:
    """Thickness of a thin line."""
    return max(1, round(float(max(canvas.shape[:2])) / _SIZE_PX))


def _arrow(canvas: Image, child: Floats, parent: Floats, colour: Colour, unit: int) -> None:
    """From the child's middle to the parent's nearest border that is far enough for an arrow to be seen."""
    start = (child[:2] + child[2:]) / 2
    end = _landing(start, parent, 9.0 * unit)
    from_px, to_px = ((round(float(x)), round(float(y))) for x, y in (start, end))
    length = float(np.hypot(*(end - start)))
    tip = min(0.5, 8 * unit / max(length, 1.0))
    for ink, thickness in (((255, 255, 255), unit + 2), (colour, unit)):  # a white rim sets it off from what is drawn
        cv2.arrowedLine(canvas, from_px, to_px, ink, thickness, cv2.LINE_AA, tipLength=tip)
        cv2.circle(canvas, from_px, unit + thickness, ink, -1, cv2.LINE_AA)


def _landing(start: Floats, box: Floats, far_px: float) -> Floats:
    """Where on the border of ``box`` an arrow from ``start`` ends."""
    x, y = np.clip(start, box[:2], box[2:])
    ends = np.array([(box[0], y), (box[2], y), (x, box[1]), (x, box[3])])
    distance = np.hypot(*(ends - start).T)
    distance = np.where(distance < far_px, np.inf, distance)
    return np.asarray(ends[int(distance.argmin())])


def _tag(canvas: Image, box: Floats, text: str, colour: Colour, taken: Sequence[Rect]) -> Rect:
    """Writes the text above the box's upper left corner and returns the place that it took.

    It goes inside where there is no room above, and further right where there is a tag already.
    """
    unit = _unit(canvas)
    scale = 0.36 * unit
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, unit)
    width, height = width + 2, height + base + 1
    x, y = max(0, round(float(box[0]))), round(float(box[1]))
    top = y - height if y >= height else y
    for x0, y0, x1, y1 in sorted(taken):
        if x < x1 and x0 < x + width and top < y1 and y0 < top + height:
            x = x1
    cv2.rectangle(canvas, (x, top), (x + width, top + height), colour, -1)
    place = x + 1, top + height - base
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), unit, cv2.LINE_AA)
    return x, top, x + width, top + height
