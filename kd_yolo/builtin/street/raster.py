"""Shapes to pixels: painted at twice the final resolution and averaged down, which is the antialiasing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.builtin.street.fills import Fill, Floats

SUPERSAMPLE = 2
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates
LABEL_ALPHA_MIN = 0.4  # a pixel belongs to an object when it covers this much of it


@dataclass(frozen=True)
class Shape:
    """A filled outline in image pixels.

    Args:
        contours: closed outlines, each (n, 2); a second one inside the first is a hole.
        fill: the paint.
        depth_m: distance from the camera, for the drawing order.
        px_per_m: scale of the pattern.
        light: factor on the colours.
        labelled: whether the shape counts for the object's box; a sign's pole does not.
    """

    contours: tuple[Floats, ...]
    fill: Fill
    depth_m: float
    px_per_m: float
    light: float = 1.0
    labelled: bool = True


@dataclass(frozen=True)
class Sprite:
    """One object, cut out.

    Args:
        left: column of its first pixel in the image, negative when it begins outside.
        top: row of its first pixel.
        colour: colours times alpha, (h, w, 3) in 0..255.
        alpha: (h, w) in 0..1.
        label: (h, w), the pixels that belong to the object's box.
    """

    left: int
    top: int
    colour: Floats = field(repr=False)
    alpha: Floats = field(repr=False)
    label: npt.NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class _Sheet:
    """Canvas of one sprite at the fine resolution: colours (h, w, 3), alpha and label (h, w, 2), place in the image."""

    colour: Floats
    cover: Floats
    left: int
    top: int


def rasterise(shapes: Sequence[Shape], motion_px: int = 0) -> Sprite:
    """Draws shapes far to near into one sprite.

    Args:
        shapes: at least one.
        motion_px: length of the horizontal motion blur; below 2 is none.
    """
    points = np.concatenate([contour for shape in shapes for contour in shape.contours])
    margin = 1 + max(motion_px, 0)
    left, top = (int(v) for v in np.floor(points.min(0)) - margin)
    width, height = (int(v) for v in np.ceil(points.max(0)) + margin - (left, top))
    fine = height * SUPERSAMPLE, width * SUPERSAMPLE
    sheet = _Sheet(np.zeros((*fine, 3), np.float32), np.zeros((*fine, 2), np.float32), left, top)
    for shape in sorted(shapes, key=lambda s: -s.depth_m):
        _stamp(sheet, shape)
    colour, cover = (_shrink(plane, motion_px) for plane in (sheet.colour, sheet.cover))
    return Sprite(left, top, colour, np.ascontiguousarray(cover[..., 0]), cover[..., 1] >= LABEL_ALPHA_MIN)


def _stamp(sheet: _Sheet, shape: Shape) -> None:
    """Paints one shape over what is there."""
    fine = [(contour - (sheet.left, sheet.top)) * SUPERSAMPLE - 0.5 for contour in shape.contours]
    fixed = [np.round(contour * (1 << _SHIFT)).astype(np.int32) for contour in fine]
    cv2.fillPoly(sheet.cover, fixed, (1.0, float(shape.labelled)), shift=_SHIFT)
    if shape.fill.is_flat:
        blue, green, red = (channel * shape.light for channel in shape.fill.colour)
        cv2.fillPoly(sheet.colour, fixed, (blue, green, red), shift=_SHIFT)
        return
    low = np.maximum(np.floor(fine[0].min(0)).astype(int), 0)
    high = np.ceil(fine[0].max(0)).astype(int) + 1
    window = slice(low[1], high[1]), slice(low[0], high[0])
    mask = np.zeros(sheet.cover[window].shape[:2], np.uint8)
    cv2.fillPoly(mask, [points - (low << _SHIFT).astype(np.int32) for points in fixed], 1, shift=_SHIFT)
    np.copyto(sheet.colour[window], _colours(shape, sheet, low, mask.shape), where=mask[..., None] > 0)


def _colours(shape: Shape, sheet: _Sheet, low: npt.NDArray[np.int_], size: tuple[int, ...]) -> Floats:
    """Colours (h, w, 3) of a window of the sheet that starts at ``low``."""
    outline = shape.contours[0]
    least, most = outline.min(0), outline.max(0)
    fine_per_m = shape.px_per_m * SUPERSAMPLE
    origin = ((least + most) / 2 - (sheet.left, sheet.top)) * SUPERSAMPLE - low
    x_m = ((np.arange(size[1]) - origin[0]) / fine_per_m).astype(np.float32)[None, :]
    y_m = ((origin[1] - np.arange(size[0])) / fine_per_m).astype(np.float32)[:, None]
    half_width_m = float(most[0] - least[0]) / 2 / shape.px_per_m
    return np.asarray(shape.fill.paint(x_m, y_m, half_width_m) * np.float32(shape.light))


def _shrink(plane: Floats, motion_px: int) -> Floats:
    """The fine plane averaged down to pixels, with motion blur."""
    height, width = plane.shape[0] // SUPERSAMPLE, plane.shape[1] // SUPERSAMPLE
    small = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    blurred = cv2.blur(small, (motion_px, 1)) if motion_px > 1 else small
    return np.asarray(blurred, np.float32)
