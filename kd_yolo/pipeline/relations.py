"""Parent links between the boxes that a detector finds: drawn, and scored against the truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.data.relation_set import RelationSample, read_picture, read_relation_set
from kd_yolo.data.spec import IMAGE_SUFFIXES
from kd_yolo.errors import ConfigError, InputError
from kd_yolo.geometry.relation import (
    RelationReport,
    Relations,
    draw_relations,
    evaluate_relations,
    find_parent_nodes,
)
from kd_yolo.yolo.predict import Prediction, predict_boxes

log = logging.getLogger("kd_yolo")
AT_ONCE = 16  # pictures in memory


def predict_file(
    weights: str, source: str | Path | Sequence[str | Path], folder: Path, *, imgsz: int, conf: float = 0.25
) -> list[Path]:
    """Draws the boxes of pictures and an arrow from each box to its parent.

    Args:
        weights: a checkpoint.
        source: a picture, a folder of pictures, or several.
        folder: where the drawn pictures go, as PNG under their own names.
        imgsz: longer side in pixels.
        conf: least score of a box.

    Returns:
        The drawn pictures.

    Raises:
        InputError: no pictures there, or one that cannot be read.
    """
    files = _pictures(source)
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for file, picture, found, names in _predictions(weights, files, imgsz, conf):
        boxes, parents = found.boxes_xyxy_m4, find_parent_nodes(found.boxes_xyxy_m4)
        labels = [names[cls] for cls in found.classes]
        target = _free(folder / f"{file.stem}.png", drawn)
        cv2.imwrite(str(target), draw_relations(picture, boxes, parents, classes=found.classes, labels=labels))
        drawn.append(target)
    log.warning("%d picture(s) with boxes and parents: %s", len(drawn), folder)
    return drawn


def evaluate_file(
    weights: str, data: Path, split: str, *, imgsz: int, conf: float = 0.25, iou_min: float = 0.5
) -> RelationReport:
    """Scores the parent links of the boxes that a detector finds.

    Args:
        weights: a checkpoint.
        data: a folder with ``images/<split>`` and ``plabels/<split>``, or a data YAML.
        split: such as "val".
        imgsz: longer side in pixels.
        conf: least score of a box.
        iou_min: least IoU at which a found box counts as a true one; classes have to agree as well.

    Raises:
        ConfigError: ``conf`` or ``iou_min`` out of range.
        InputError: see :func:`kd_yolo.data.relation_set.read_relation_set`.
    """
    if not 0 <= conf <= 1:
        raise ConfigError(f"conf is {conf}, expected a score between 0 and 1.")
    samples = read_relation_set(data, split)
    return evaluate_relations(_scored(weights, samples, imgsz, conf), iou_min)


def _scored(
    weights: str, samples: Sequence[RelationSample], imgsz: int, conf: float
) -> Iterator[tuple[str, Relations, Relations]]:
    predictions = _predictions(weights, [sample.image for sample in samples], imgsz, conf)
    for sample, (file, picture, found, _) in zip(samples, predictions, strict=True):
        height, width = picture.shape[:2]
        truth = sample.truth
        true_boxes = _corners(truth.boxes_cxcywh) * np.array([width, height, width, height])
        own = Relations(found.boxes_xyxy_m4, find_parent_nodes(found.boxes_xyxy_m4), found.classes)
        yield file.name, Relations(true_boxes, truth.parents, truth.classes), own


def _predictions(
    weights: str, files: Sequence[Path], imgsz: int, conf: float
) -> Iterator[tuple[Path, npt.NDArray[np.uint8], Prediction, dict[int, str]]]:
    """File, picture, boxes and class names, some pictures at a time."""
    for start in range(0, len(files), AT_ONCE):
        some = files[start : start + AT_ONCE]
        pictures = [read_picture(file) for file in some]
        found, names = predict_boxes(weights, pictures, imgsz=imgsz, score_min=conf)
        for file, picture, prediction in zip(some, pictures, found, strict=True):
            yield file, picture, prediction, names


def _corners(boxes_cxcywh: npt.NDArray[Any]) -> npt.NDArray[Any]:
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _pictures(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files of a source; folders give their pictures."""
    sources = [source] if isinstance(source, str | Path) else source
    files: list[Path] = []
    for entry in map(Path, sources):
        if not entry.exists():
            raise InputError(f"{entry} does not exist: predict() takes a picture, a folder of pictures, or several.")
        inside = sorted(p for p in entry.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if entry.is_dir() else [entry]
        files.extend(inside)
    if not files:
        raise InputError(f"{source} holds no pictures.")
    return files


def _free(target: Path, taken: Sequence[Path]) -> Path:
    """``name.png``, or ``name-2.png`` when a picture of that name was drawn in the same call."""
    path, count = target, 1
    while path in taken:
        count += 1
        path = target.with_name(f"{target.stem}-{count}{target.suffix}")
    return path
