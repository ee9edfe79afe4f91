"""Parent links between the boxes that a detector finds: drawn, and scored against the truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_image
from kd_yolo.data.relation_set import READABLE_SUFFIXES, RelationSample, read_bgr, read_relation_set
from kd_yolo.geometry.relation import (
    RelationReport,
    Relations,
    draw_relations,
    evaluate_relations,
    find_parent_nodes,
    learn_allowed_pairs,
)
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.predict import Prediction, predict_boxes

log = logging.getLogger("kd_yolo")
AT_ONCE = 16  # images in memory


def predict_file(
    weights: str, source: str | Path | Sequence[str | Path], folder: Path, *, imgsz: int, conf: float = 0.25
) -> list[Path]:
    """Draws the boxes of images and an arrow from each box to its parent.

    Args:
        weights: a checkpoint.
        source: an image, a folder of images, or several.
        folder: where the drawn images go, as PNG under their own names.
        imgsz: longer side in pixels.
        conf: least score of a box.

    Returns:
        The drawn images.

    Raises:
        InputError: no images there, or one that cannot be read.
    """
    files = _images(source)
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for file, image, found, names in _predictions(weights, files, imgsz, conf):
        boxes, parents = found.boxes_xyxy_m4, find_parent_nodes(found.boxes_xyxy_m4)
        labels = [names[cls] for cls in found.classes]
        target = _free(folder / f"{file.stem}.png", drawn)
        write_image(target, draw_relations(image, boxes, parents, classes=found.classes, labels=labels))
        drawn.append(target)
    log.warning("%d image(s) with boxes and parents: %s", len(drawn), folder)
    return drawn


def evaluate_file(
    weights: str,
    data: Path,
    split: str,
    *,
    imgsz: int,
    conf: float = 0.25,
    iou_min: float = 0.5,
    learn_from: str | None = None,
) -> RelationReport:
    """Scores the parent links of the boxes that a detector finds.

    Args:
        weights: a checkpoint.
        data: a folder with ``images/<split>`` and ``plabels/<split>``, or a data YAML.
        split: such as "val".
        imgsz: longer side in pixels.
        conf: least score of a box.
        iou_min: least IoU at which a found box counts as a true one; classes have to agree as well.
        learn_from: a split whose ``plabels`` say which class may be whose parent; None goes by the boxes alone.

    Raises:
        ConfigError: ``conf`` or ``iou_min`` out of range.
        InputError: see :func:`kd_yolo.data.relation_set.read_relation_set`.
    """
    if not 0 <= conf <= 1:
        raise ConfigError(f"conf is {conf}, expected a score between 0 and 1.")
    samples = read_relation_set(data, split)
    allowed_kk = None if learn_from is None else _learn_pairs(weights, read_relation_set(data, learn_from))
    return evaluate_relations(_scored(weights, samples, imgsz, conf, allowed_kk), iou_min)


def _learn_pairs(weights: str, samples: Sequence[RelationSample]) -> npt.NDArray[np.bool_]:
    truths = [sample.truth for sample in samples]
    known = max((int(truth.classes.max()) + 1 for truth in truths if len(truth.classes)), default=0)
    num_classes = max(known, len(load_checkpoint(weights)[0].names))  # type: ignore[arg-type]
    return learn_allowed_pairs(((truth.classes, truth.parents) for truth in truths), num_classes)


def _scored(
    weights: str,
    samples: Sequence[RelationSample],
    imgsz: int,
    conf: float,
    allowed_kk: npt.NDArray[np.bool_] | None,
) -> Iterator[tuple[str, Relations, Relations]]:
    predictions = _predictions(weights, [sample.image for sample in samples], imgsz, conf)
    for sample, (file, image, found, _) in zip(samples, predictions, strict=True):
        height, width = image.shape[:2]
        true = Relations(sample.truth.boxes_xyxy(width, height), sample.truth.parents, sample.truth.classes)
        boxes, classes = found.boxes_xyxy_m4, None if allowed_kk is None else found.classes
        parents = find_parent_nodes(boxes, classes=classes, allowed_kk=allowed_kk)
        yield file.name, true, Relations(boxes, parents, found.classes)


def _predictions(
    weights: str, files: Sequence[Path], imgsz: int, conf: float
) -> Iterator[tuple[Path, npt.NDArray[np.uint8], Prediction, dict[int, str]]]:
    """File, image, boxes and class names, some images at a time."""
    for start in range(0, len(files), AT_ONCE):
        some = files[start : start + AT_ONCE]
        images = [read_bgr(file) for file in some]
        found, names = predict_boxes(weights, images, imgsz=imgsz, score_min=conf)
        for file, image, prediction in zip(some, images, found, strict=True):
            yield file, image, prediction, names


def _images(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files of a source; folders give their images."""
    sources = [source] if isinstance(source, str | Path) else source
    files: list[Path] = []
    for entry in map(Path, sources):
        if not entry.exists():
            raise InputError(f"{entry} does not exist: predict() takes an image, a folder of images, or several.")
        inside = (
            sorted(p for p in entry.iterdir() if p.suffix.lower() in READABLE_SUFFIXES) if entry.is_dir() else [entry]
        )
        files.extend(inside)
    if not files:
        raise InputError(f"{source} holds no images.")
    return files


def _free(target: Path, taken: Sequence[Path]) -> Path:
    """``name.png``, or ``name-2.png`` when an image of that name was drawn in the same call."""
    path, count = target, 1
    while path in taken:
        count += 1
        path = target.with_name(f"{target.stem}-{count}{target.suffix}")
    return path
