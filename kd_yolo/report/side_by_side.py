"""Labels, teacher and student side by side on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.files import write_image
from kd_yolo.data.sheet import draw_boxes, grid, labelled_boxes
from kd_yolo.data.spec import label_path, list_images, read_data_yaml
from kd_yolo.yolo.predict import Prediction, predict_boxes

TILE_PX = 320
Image = npt.NDArray[np.uint8]


def side_by_side(
    models: Sequence[tuple[str, str | Path]], data_yaml: Path, out_png: Path, *, imgsz: int, rows: int = 4
) -> Path:
    """Draws a row per image: its labels, then what each model sees.

    Args:
        models: title and checkpoint of each model.
        data_yaml: the data set; images are taken evenly from its val split.
        out_png: what is written.
        imgsz: size that the models run at.
        rows: images.

    Returns:
        ``out_png``.
    """
    spec = read_data_yaml(data_yaml)
    readable = [f for f in list_images(spec, "val") if cv2.haveImageReader(str(f))]
    files = readable[:: max(len(readable) // rows, 1)][:rows]
    columns = [("labels", [_labels(f, len(spec.names)) for f in files], spec.names)]
    for title, weights in models:
        columns.append((title, *predict_boxes(weights, files, imgsz=imgsz)))
    images = [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
    height_px = max(round(image.shape[0] * TILE_PX / max(image.shape[:2])) for image in images)
    tiles = []
    for row, image in enumerate(images):
        blank = np.zeros((height_px, TILE_PX, 3), np.uint8)
        titles = [title if row == 0 else "" for title, _, _ in columns]
        tiles += [_tile(blank.copy(), image, t, c[1][row], c[2]) for t, c in zip(titles, columns, strict=True)]
    write_image(out_png, grid(tiles, len(columns)))
    return out_png


def _labels(file: Path, num_classes: int) -> Prediction:
    height, width = np.asarray(cv2.imread(str(file))).shape[:2]
    return Prediction(*labelled_boxes(label_path(file), num_classes, width, height))


def _tile(tile: Image, image: Image, title: str, found: Prediction, names: dict[int, Any]) -> Image:
    """The image on a black tile with its boxes and, in the first row, the column's title."""
    scale = TILE_PX / max(image.shape[:2])
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    height_px, width_px = min(small.shape[0], tile.shape[0]), min(small.shape[1], tile.shape[1])
    tile[:height_px, :width_px] = small[:height_px, :width_px]
    draw_boxes(tile, found.boxes_xyxy_m4 * scale, found.classes, names)
    if title:
        cv2.rectangle(tile, (0, 0), (TILE_PX, 18), (0, 0, 0), -1)
        cv2.putText(tile, title, (6, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return tile
