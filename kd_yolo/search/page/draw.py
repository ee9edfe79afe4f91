"""What the page draws into images: numbered people, a match in its frame, boxes of any class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.palette import BLUE, OBJECTS, ORANGE, Colour
from kd_yolo.search.frames.frame_types import ImageHW3

Box = tuple[int, int, int, int]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
LONG_SIDE_PX, SHORT_SIDE_PX, MOST_SCALE = 1280, 800, 4.0  # small images grow, so that their labels can be read
FONT = cv2.FONT_HERSHEY_DUPLEX
THUMBNAIL = 2.0  # times as large, in an image that the page shows at half its size


@dataclass(frozen=True)
class Shown:
    """An image in the size that the page shows.

    Attributes:
        image_hw3: RGB, its longer side from 800 (where a scale of 4 is enough for that) to 1280 pixels.
        scale: its pixels in one of the image that it was made from.
    """

    image_hw3: ImageHW3
    scale: float

    @classmethod
    def of(cls, image_hw3: ImageHW3) -> Shown:
        """Of a BGR image of any size."""
        height, width = image_hw3.shape[:2]
        longer = max(height, width)
        scale = min(LONG_SIDE_PX / longer, max(1.0, min(SHORT_SIDE_PX / longer, MOST_SCALE)))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = image_hw3 if scale == 1 else cv2.resize(image_hw3, size, interpolation=how)
        return cls(np.ascontiguousarray(resized[..., ::-1]), scale)

    def box(self, box: Sequence[float]) -> list[int]:
        """A box of the original image in pixels of this one."""
        return [round(float(edge) * self.scale) for edge in box]


def draw_people(shown: Shown, boxes: Sequence[Box], chosen: int | None) -> ImageHW3:
    """Numbers people from 1; the chosen one stands out.

    Args:
        shown: where to; is not touched.
        boxes: corners in pixels of the original image.
        chosen: place in ``boxes``, or None.
    """
    drawn: ImageHW3 = shown.image_hw3.copy()
    for place in sorted(range(len(boxes)), key=lambda place: place == chosen):
        _box(drawn, shown.box(boxes[place]), ORANGE if place == chosen else BLUE, str(place + 1), THUMBNAIL)
    return drawn


def draw_match(shown: Shown, box: Box) -> ImageHW3:
    """A frame with the box of a match, and everything around it darker."""
    x1, y1, x2, y2 = shown.box(box)
    drawn: ImageHW3 = (shown.image_hw3 * np.float32(0.62)).astype(np.uint8)
    drawn[y1:y2, x1:x2] = shown.image_hw3[y1:y2, x1:x2]
    _box(drawn, (x1, y1, x2, y2), ORANGE, "")
    return drawn


def draw_classes(
    shown: Shown, boxes_xyxy_m4: npt.NDArray[Any], classes: Sequence[int], names: dict[int, str]
) -> ImageHW3:
    """Boxes, in pixels of the original image, with the names of their classes."""
    drawn: ImageHW3 = shown.image_hw3.copy()
    for box, class_id in zip(boxes_xyxy_m4, classes, strict=True):
        name = names.get(class_id, str(class_id)).encode("ascii", "replace").decode()  # all that the font has
        _box(drawn, shown.box(box), OBJECTS[class_id % len(OBJECTS)], name)
    return drawn


def _box(drawn: ImageHW3, box: Sequence[int], colour: Colour, label: str, size: float = 1.0) -> None:
    """A box and its label: above the upper left corner, or inside where the image ends."""
    height, width = drawn.shape[:2]
    size *= max(height, width) / LONG_SIDE_PX
    line = max(1, round(3 * size))
    x1, y1, x2, y2 = box
    cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), WHITE, line + 2, cv2.LINE_AA)
    cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), colour, line, cv2.LINE_AA)
    if not label:
        return
    thick = max(1, round(1.4 * size))
    (text_width, text_height), _ = cv2.getTextSize(label, FONT, size, thick)
    pad = max(3, round(6 * size))
    left = max(0, min(x1, width - text_width - 2 * pad))
    label_height = text_height + 2 * pad
    top = y1 - label_height if y1 >= label_height else max(0, min(y1, height - label_height))
    cv2.rectangle(drawn, (left, top), (left + text_width + 2 * pad, top + label_height), colour, -1)
    ink = BLACK if sum(colour) > 380 else WHITE
    cv2.putText(drawn, label, (left + pad, top + pad + text_height), FONT, size, ink, thick, cv2.LINE_AA)
