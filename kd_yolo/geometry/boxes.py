"""Boxes as (M,4) arrays of x0, y0, x1, y1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Pairs of boxes looked at together: 8 MB for each of the few temporaries, whatever the number of boxes.
PAIRS_AT_ONCE = 1 << 20


def as_boxes(boxes_xyxy: npt.ArrayLike, what: str = "boxes") -> Floats:
    """Boxes as a float64 array.

    Args:
        boxes_xyxy: anything of shape (M,4); any empty thing is no boxes. Boxes without width or height are allowed.
        what: how the error calls them.

    Returns:
        (M,4).

    Raises:
        InputError: another shape, values that are no finite numbers, or corners the wrong way round.
    """
    try:
        array = np.asarray(boxes_xyxy, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} are not numbers of shape (M,4): {error}") from None
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{what} have shape {array.shape}, expected (M,4): x0, y0, x1, y1 of each box.")
    bad = ~np.isfinite(array).all(1)
    if bad.any():
        raise InputError(f"{what}[{int(bad.argmax())}] is {_shown(array[bad.argmax()])}, expected finite numbers.")
    bad = (array[:, 2:] < array[:, :2]).any(1)
    if bad.any():
        raise InputError(
            f"{what}[{int(bad.argmax())}] is {_shown(array[bad.argmax()])}, expected x0 <= x1 and y0 <= y1."
            " Are these centres and sizes? Convert them to corners first."
        )
    return array


def _shown(box: Floats) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"


def box_areas(boxes_xyxy_m4: Floats) -> Floats:
    """Area (M,) of each box."""
    return np.asarray((boxes_xyxy_m4[:, 2] - boxes_xyxy_m4[:, 0]) * (boxes_xyxy_m4[:, 3] - boxes_xyxy_m4[:, 1]))


def overlaps(a_xyxy_m4: Floats, b_xyxy_n4: Floats) -> tuple[Floats, Floats]:
    """Width and height (M,N) of what each pair of boxes shares; negative where they lie apart."""
    width, height = (
        np.minimum(a_xyxy_m4[:, None, i + 2], b_xyxy_n4[None, :, i + 2])
        - np.maximum(a_xyxy_m4[:, None, i], b_xyxy_n4[None, :, i])
        for i in (0, 1)
    )
    return width, height


def iou_matrix(a_xyxy_m4: Floats, b_xyxy_n4: Floats) -> Floats:
    """Intersection over union (M,N) of all pairs; 0 for boxes without area."""
    width, height = overlaps(a_xyxy_m4, b_xyxy_n4)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = box_areas(a_xyxy_m4)[:, None] + box_areas(b_xyxy_n4) - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def iou_pairs(a_xyxy_m4: Floats, b_xyxy_n4: Floats, iou_min: float) -> tuple[Ints, Ints, Floats]:
    """All pairs of boxes that overlap enough.

    Args:
        a_xyxy_m4: boxes (M,4).
        b_xyxy_n4: boxes (N,4).
        iou_min: least intersection over union, above 0.

    Returns:
        Index into a, index into b and IoU of each pair, each (P,), ordered by a, then b.
    """
    if not len(a_xyxy_m4) or not len(b_xyxy_n4):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    step = max(1, PAIRS_AT_ONCE // len(b_xyxy_n4))
    found = []
    for start in range(0, len(a_xyxy_m4), step):
        iou = iou_matrix(a_xyxy_m4[start : start + step], b_xyxy_n4)
        i, j = np.nonzero(iou >= iou_min)
        found.append((i + start, j, iou[i, j]))
    i, j, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return i, j, iou
