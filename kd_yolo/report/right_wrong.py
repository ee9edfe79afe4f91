"""What several models find on the same images: right boxes green, wrong ones red, missed objects white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.files import write_image
from kd_yolo.base.images import read_image
from kd_yolo.base.palette import GREEN, VERMILION, as_bgr
from kd_yolo.data.sheet import grid, labelled_boxes
from kd_yolo.data.spec import label_path, list_images, read_data_yaml
from kd_yolo.geometry.boxes import iou_matrix
from kd_yolo.yolo.predict import Prediction, predict_boxes

IOU_MIN = 0.5  # as for mAP50
TILE_PX, HEAD_PX, ACROSS = 100, 34, 2
SCORE_MIN = 0.15  # short trainings leave low scores; the same for all models
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
JPEG_QUALITY = 65
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Judged:
    """The boxes of one image.

    Attributes:
        right: found boxes (M,4): of the class of a labelled one, which they overlap by half or more; one for each.
        wrong: the other found boxes (K,4).
        missed: labelled boxes (L,4) without a right one.
    """

    right: npt.NDArray[Any]
    wrong: npt.NDArray[Any]
    missed: npt.NDArray[Any]


def judge(found: Prediction, truth: Prediction) -> Judged:
    """Sorts found boxes, best first, into right and wrong."""
    overlap = iou_matrix(np.asarray(found.boxes_xyxy_m4, float).reshape(-1, 4), truth.boxes_xyxy_m4)
    is_right, is_found = np.zeros(len(found.classes), bool), np.zeros(len(truth.classes), bool)
    for place, class_id in enumerate(found.classes):
        fits = (np.asarray(truth.classes) == class_id) & ~is_found
        scores = np.where(fits, overlap[place], 0.0)
        if scores.size and scores.max() >= IOU_MIN:
            is_right[place] = is_found[scores.argmax()] = True
    return Judged(found.boxes_xyxy_m4[is_right], found.boxes_xyxy_m4[~is_right], truth.boxes_xyxy_m4[~is_found])


def draw_right_wrong(
    models: Sequence[tuple[str, str | Path]], data_yaml: str | Path, out: str | Path, *, imgsz: int, count: int = 12
) -> Path:
    """Draws the same images for each model, side by side; above them how many boxes of these images are right.

    Args:
        models: title and checkpoint of each model.
        data_yaml: the data set; images are taken evenly from its val split.
        out: what is written: a JPEG or PNG.
        imgsz: size that the models run at.
        count: images.

    Returns:
        ``out``.
    """
    spec = read_data_yaml(data_yaml)
    files = list_images(spec, "val")
    files = files[:: max(len(files) // count, 1)][:count]
    images = [np.asarray(read_image(file), np.uint8) for file in files]
    truths = [_labels(file, image, len(spec.names)) for file, image in zip(files, images, strict=True)]
    columns = []
    for title, weights in models:
        found, _ = predict_boxes(weights, files, imgsz=imgsz, score_min=SCORE_MIN)
        judged = [judge(*pair) for pair in zip(found, truths, strict=True)]
        columns.append(np.vstack([_head(title, judged), grid(list(map(_tile, images, judged)), ACROSS)]))
    return Path(write_image(out, grid(columns, len(columns)), jpeg_quality=JPEG_QUALITY))


def _labels(file: Path, image: Image, num_classes: int) -> Prediction:
    return Prediction(*labelled_boxes(label_path(file), num_classes, image.shape[1], image.shape[0]))


def _head(title: str, judged: Sequence[Judged]) -> Image:
    """Title and counts over a column."""
    head = np.zeros((HEAD_PX, ACROSS * TILE_PX, 3), np.uint8)
    counts = [sum(len(getattr(one, kind)) for one in judged) for kind in ("right", "wrong", "missed")]
    _write(head, title, (4, 13), WHITE)
    place = 4
    for count, kind, colour in zip(counts, ("right", "wrong", "missed"), (GREEN, VERMILION, WHITE), strict=True):
        place += _write(head, f"{count} {kind}", (place, 28), as_bgr(colour)) + 6
    return head


def _tile(image: Image, judged: Judged) -> Image:
    """The image on a square tile with its boxes."""
    scale = TILE_PX / max(image.shape[:2])
    tile = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)[:TILE_PX, :TILE_PX]
    tile[: large.shape[0], : large.shape[1]] = large
    for boxes, colour, thickness in ((judged.missed, WHITE, 1), (judged.wrong, VERMILION, 2), (judged.right, GREEN, 2)):
        for box in np.asarray(boxes) * scale:
            x0, y0, x1, y1 = (round(float(side)) for side in box)
            for ink, width in ((BLACK, thickness + 2), (as_bgr(colour), thickness)):  # a dark rim: seen on any ground
                cv2.rectangle(tile, (x0, y0), (x1 - 1, y1 - 1), ink, width)
    cv2.rectangle(tile, (0, 0), (TILE_PX - 1, TILE_PX - 1), BLACK, 1)
    return tile


def _write(tile: Image, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> int:
    """Writes a text and returns its width in pixels."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.36
    cv2.putText(tile, text, place, font, size, colour, 1, cv2.LINE_AA)
    return int(cv2.getTextSize(text, font, size, 1)[0][0])
