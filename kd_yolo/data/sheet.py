"""An image of images: some images of a set with their labelled boxes, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import write_image
from kd_yolo.base.images import read_image
from kd_yolo.base.palette import OBJECTS, as_bgr
from kd_yolo.data.labels import read_labels
from kd_yolo.data.spec import label_path, list_images, read_data_yaml

Image = npt.NDArray[np.uint8]


def contact_sheet(
    data_yaml: Path, out_png: Path, *, split: str = "val", columns: int = 4, rows: int = 3, tile_width_px: int = 384
) -> Path:
    """Draws the first images of a split in a grid.

    Args:
        data_yaml: the set.
        out_png: what is written; its folder is made if needed.
        split: "train", "val" or "test".
        columns: tiles across.
        rows: tiles down; fewer when the split is small.
        tile_width_px: width of one tile; the first image gives the height.

    Returns:
        ``out_png``.

    Raises:
        InputError: no readable image in the split.
    """
    spec = read_data_yaml(data_yaml)
    tiles: list[Image] = []
    for file in list_images(spec, split):
        try:
            image = read_image(file)
        except InputError:
            continue
        tile_height_px = tiles[0].shape[0] if tiles else round(image.shape[0] * tile_width_px / image.shape[1])
        tile = np.asarray(cv2.resize(image, (tile_width_px, tile_height_px), interpolation=cv2.INTER_AREA), np.uint8)
        tiles.append(_with_boxes(tile, label_path(file), spec.names))
        if len(tiles) == columns * rows:
            break
    if not tiles:
        raise InputError(f"'{split}' of {spec.yaml_path} has no readable image: nothing to draw.")
    write_image(out_png, grid(tiles, columns))
    return Path(out_png)


def _with_boxes(tile: Image, labels: Path, names: dict[int, str]) -> Image:
    height, width = tile.shape[:2]
    return draw_boxes(tile, *labelled_boxes(labels, len(names), width, height), names)


def labelled_boxes(
    labels: Path, num_classes: int, width_px: int, height_px: int
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """The boxes (M,4) of a label file in pixels of an image of this size, and their classes; none without a file."""
    found = read_labels(labels, num_classes)[0] if labels.is_file() else []
    cxcywh = np.array([label.cxcywh for label in found], np.float64).reshape(-1, 4)
    cxcywh *= (width_px, height_px, width_px, height_px)
    corners = np.hstack([cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2])
    return corners, [label.class_id for label in found]


def draw_boxes(tile: Image, boxes_xyxy_m4: npt.NDArray[Any], classes: Sequence[int], names: dict[int, str]) -> Image:
    """Draws boxes (M,4) in pixels with their class names into ``tile``, in place."""
    for (x0, y0, x1, y1), class_id in zip(boxes_xyxy_m4, classes, strict=True):
        colour = as_bgr(OBJECTS[class_id % len(OBJECTS)])
        cv2.rectangle(tile, (round(x0), round(y0)), (round(x1) - 1, round(y1) - 1), colour, 1)
        place = round(x0), max(8, round(y0) - 2)
        for thickness, ink in ((2, (0, 0, 0)), (1, colour)):
            cv2.putText(tile, names[class_id], place, cv2.FONT_HERSHEY_SIMPLEX, 0.32, ink, thickness, cv2.LINE_AA)
    return tile


def grid(tiles: list[Image], columns: int) -> Image:
    """Puts tiles of one size side by side; the last line is filled up with black."""
    blank = np.zeros_like(tiles[0])
    filled = tiles + [blank] * (-len(tiles) % columns)
    lines = [np.hstack(filled[start : start + columns]) for start in range(0, len(filled), columns)]
    return np.vstack(lines)
