"""Reads the images of a set with their parent labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from kd_yolo.base.errors import InputError
from kd_yolo.base.images import UNREADABLE, image_size, read_image
from kd_yolo.base.reading import first_few, read_text
from kd_yolo.data.labels import LabelProblem, read_labels
from kd_yolo.data.plabels import ParentLabels, parse_plabels, plabel_path, raise_problems
from kd_yolo.data.spec import IMAGE_SUFFIXES, DataSpec, label_path, list_images, read_data_yaml
from kd_yolo.data.tree import files_below

# What OpenCV or PIL opens beside what ultralytics trains on.
READABLE_SUFFIXES = IMAGE_SUFFIXES | {".gif", ".jfif", ".jpe", ".pbm", ".pgm", ".pnm", ".ppm", ".tga"}
_SAME = 2e-3  # labels and plabels may be rounded differently


@dataclass(frozen=True)
class RelationSample:
    """One image and its truth.

    Args:
        image: the image.
        plabels: its file; it need not exist for an image without boxes.
        truth: what the file says.
    """

    image: Path
    plabels: Path
    truth: ParentLabels


def read_relation_set(root: str | Path, split: str = "val") -> list[RelationSample]:
    """Reads one split of a set.

    Args:
        root: a folder with ``images/<split>`` and ``plabels/<split>``, or a data YAML whose images have ``plabels``
            beside their ``images``.
        split: such as "val".

    Returns:
        All images, sorted by path. One with neither ``plabels`` nor ``labels`` has no boxes.

    Raises:
        InputError: a folder is missing or has no images, labels have no ``plabels`` twin or another one, or lines
            are wrong (file and line).
    """
    root = Path(root).absolute()
    spec = read_data_yaml(root) if _has_yaml(root) else None
    images = _list_split(spec, split) if spec is not None and root.is_file() else _list_folder(root, split)
    if not images:
        where = f"{root}: its split '{split}'" if root.is_file() else str(root / "images" / split)
        raise InputError(f"{where} has no images.{_splits(spec)}")
    twins = [plabel_path(image) for image in images]
    _check_twins(images, twins)
    samples, problems = [], list[LabelProblem]()
    num_classes = len(spec.names) if spec is not None else None
    for image, file in zip(images, twins, strict=True):
        truth, bad = parse_plabels(file, num_classes) if file.is_file() else (_NOTHING, [])
        problems += bad or _differences(label_path(image), file, truth)
        samples.append(RelationSample(image, file, truth))
    raise_problems(problems)
    return samples


_NOTHING = ParentLabels(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64))


def _has_yaml(root: Path) -> bool:
    if not root.exists():
        raise InputError(
            f"{root} does not exist: expected a folder with images/ and plabels/, or a data YAML."
            " For built-in diagrams type: kd-yolo data make diagram"
        )
    return root.is_file() or len([*root.glob("*.yaml"), *root.glob("*.yml")]) == 1


def _splits(spec: DataSpec | None) -> str:
    return f" It has: {', '.join(spec.splits)}." if spec is not None else ""


def _list_folder(root: Path, split: str) -> list[Path]:
    folder = root / "images" / split
    if not folder.is_dir():
        there = sorted(entry.name for entry in (root / "images").glob("*") if entry.is_dir())
        known = f"{root / 'images'} has: {', '.join(there)}." if there else f"Expected {root}/images/<split>/<image>."
        raise InputError(f"{folder} does not exist. {known}")
    return _images(folder)


def _list_split(spec: DataSpec, split: str) -> list[Path]:
    found = list_images(spec, split)
    for entry in spec.splits.get(split, ()):
        found += _images(entry) if entry.is_dir() else []
    return sorted(set(found))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in files_below(folder, READABLE_SUFFIXES) if path.is_file())


def _check_twins(images: list[Path], twins: list[Path]) -> None:
    """Every label file must have its plabels."""
    lone = [
        (label_path(image), twin)
        for image, twin in zip(images, twins, strict=True)
        if not twin.is_file()
        and label_path(image).is_file()
        and read_text(label_path(image), what="label file").strip()
    ]
    if lone:
        needed = first_few([twin for _, twin in lone], 3)
        raise InputError(
            f"{len(lone)} label file(s) have no plabels twin: {lone[0][0]} needs {needed}."
            " Write them with the parent of each box, see datasets/README.md."
        )
    if not any(twin.is_file() for twin in twins):
        raise InputError(f"none of the {len(images)} images has plabels: expected {twins[0]} and the like.")


def _differences(labels: Path, plabels: Path, truth: ParentLabels) -> list[LabelProblem]:
    """Where ``labels`` and ``plabels`` of an image are not about the same boxes."""
    if not labels.is_file():
        return []
    found, problems = read_labels(labels, 1 << 30)
    if problems:
        return problems
    if len(found) != len(truth.classes):
        return [LabelProblem(plabels, 1, f"has {len(truth.classes)} boxes, {labels} has {len(found)}")]
    boxes = np.array([label.cxcywh for label in found]).reshape(-1, 4)
    wrong = np.array([label.class_id for label in found]) != truth.classes
    wrong = wrong | (np.abs(boxes - truth.boxes_cxcywh) > _SAME).any(1)
    if not wrong.any():
        return []
    return [LabelProblem(plabels, int(wrong.argmax()) + 1, f"is not the box of the same line in {labels}")]


def read_bgr(file: Path) -> npt.NDArray[np.uint8]:
    """An image in BGR order (H,W,3), by OpenCV or else by PIL.

    Raises:
        InputError: neither can read it.
    """
    try:
        return np.asarray(read_image(file), np.uint8)
    except InputError:
        image_size(file)  # a pipe, a bomb, no image: said as it is
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)  # as OpenCV does
            return np.ascontiguousarray(np.asarray(upright.convert("RGB"), np.uint8)[..., ::-1])
    except UNREADABLE as error:
        raise InputError(f"{file} cannot be read as an image: {str(error)[:200]}") from None
