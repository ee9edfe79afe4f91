"""Checks a detection set before training starts, so that a bad line is told at once and not after an hour."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from kd_yolo.data.labels import LabelProblem, read_labels
from kd_yolo.data.resolve import resolved_yaml
from kd_yolo.data.spec import DataSpec, label_path, list_images, read_data_yaml
from kd_yolo.errors import ConfigError, InputError

__all__ = ["DataReport", "SplitReport", "check_detection_data", "resolved_yaml"]
_SHOWN = 5  # problems named in a message; the rest is a count
_READERS = 2
_DECODED = 2000  # pictures; about 5 s
# OpenCV cannot read these; ultralytics reads them by other means.
_NOT_OPENCV = frozenset((".dng", ".heic", ".heif"))


@dataclass(frozen=True)
class SplitReport:
    """What is in one split.

    Args:
        images: pictures that can be used.
        labelled: of these, with at least one box; the others are background.
        boxes: boxes by class name; classes without any are there with 0.
        unreadable: pictures that are missing or do not decode; training skips them.
    """

    images: int
    labelled: int
    boxes: dict[str, int]
    unreadable: tuple[Path, ...]


@dataclass(frozen=True)
class DataReport:
    """What is in a detection set.

    Args:
        yaml_path: the data YAML.
        names: class names by id.
        splits: report by split.
        sha256: of class names, picture names and sizes, and labels: equal for equal data wherever it lies.
    """

    yaml_path: Path
    names: dict[int, str]
    splits: dict[str, SplitReport]
    sha256: str

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Pictures of all splits that training skips."""
        return tuple(path for report in self.splits.values() for path in report.unreadable)


def check_detection_data(data_yaml: Path, nc_expected: int | None = None, *, decode: bool = True) -> DataReport:
    """Reads a whole detection set.

    Args:
        data_yaml: the YAML, or a folder with one.
        nc_expected: number of classes that the model has, None when any number will do.
        decode: decode every picture; without it only missing and empty files are found.

    Raises:
        InputError: the YAML is unusable, a label line is wrong, a split has no readable picture, or train or val has no
            label.
        ConfigError: the number of classes is not the expected one.
    """
    spec = read_data_yaml(data_yaml)
    if nc_expected is not None and len(spec.names) != nc_expected:
        raise ConfigError(
            f"{spec.yaml_path} has {len(spec.names)} classes ({_shown(list(spec.names.values()))}),"
            f" expected {nc_expected} as in the model."
            " Use data with the model's classes, or fine-tune the model on this data first."
        )
    images = {split: list_images(spec, split) for split in spec.splits}
    checked = {split: _check_split(spec, split, files, decode=decode) for split, files in images.items()}
    splits = {split: report for split, (report, _) in checked.items()}
    problems = [problem for _, found in checked.values() for problem in found]
    if problems:
        raise InputError(
            f"{len(problems)} bad label line(s): {_shown(problems, '; ')}. Each line is 'class cx cy w h', the class"
            f" 0..{len(spec.names) - 1}, the others shares of the picture in 0..1. Correct or remove them."
        )
    for split in ("train", "val"):
        if splits[split].labelled == 0:
            first = images[split][0]
            raise InputError(
                f"no '{split}' picture of {spec.yaml_path} has a label: {first} should have {label_path(first)}."
                " Pictures lie in a folder named 'images', labels beside it in 'labels'."
            )
    return DataReport(spec.yaml_path, spec.names, splits, _digest(spec, images))


def check_for_training(data_yaml: Path) -> DataReport:
    """The check before a run; large sets are not decoded, as ultralytics does that itself and caches what it found.

    Raises:
        InputError: see :func:`check_detection_data`.
    """
    spec = read_data_yaml(data_yaml)
    is_small = sum(len(list_images(spec, split)) for split in spec.splits) <= _DECODED
    return check_detection_data(data_yaml, decode=is_small)


def _check_split(
    spec: DataSpec, split: str, files: list[Path], *, decode: bool
) -> tuple[SplitReport, list[LabelProblem]]:
    """Counts one split and gathers its bad lines."""
    places = ", ".join(str(path) for path in spec.splits[split])
    if not files:
        raise InputError(f"'{split}' of {spec.yaml_path} has no pictures: none under {places}.")
    with ThreadPoolExecutor(_READERS) as pool:
        readable = list(pool.map(_decodes if decode else _exists, files))
    unreadable = tuple(file for file, fine in zip(files, readable, strict=True) if not fine)
    if len(unreadable) == len(files):
        raise InputError(
            f"none of the {len(files)} '{split}' pictures of {spec.yaml_path} can be read: {_shown(files)}."
        )
    boxes = Counter(dict.fromkeys(spec.names.values(), 0))
    labelled, problems = 0, list[LabelProblem]()
    for file, fine in zip(files, readable, strict=True):
        text = label_path(file)
        if not fine or not text.is_file():
            continue
        labels, bad = read_labels(text, len(spec.names), math.prod(spec.raw.get("kpt_shape") or [0]))
        problems += bad
        labelled += bool(labels)
        boxes.update(spec.names[label.class_id] for label in labels)
    return SplitReport(len(files) - len(unreadable), labelled, dict(boxes), unreadable), problems


def _exists(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _decodes(file: Path) -> bool:
    if not _exists(file):
        return False
    return file.suffix.lower() in _NOT_OPENCV or cv2.imread(str(file), cv2.IMREAD_REDUCED_GRAYSCALE_2) is not None


def _shown(items: list[Path] | list[str] | list[LabelProblem], separator: str = ", ") -> str:
    """The first few items and how many more there are."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return separator.join(str(item) for item in items[:_SHOWN]) + more


def _digest(spec: DataSpec, images: dict[str, list[Path]]) -> str:
    """Content hash; a picture counts by its name and size, which is fast and catches what people change."""
    digest = hashlib.sha256(repr(sorted(spec.names.items())).encode())
    for split, files in sorted(images.items()):
        for file in files:
            text = label_path(file)
            size = file.stat().st_size if file.is_file() else -1
            name = Path(os.path.relpath(file, spec.root)).as_posix()
            digest.update(f"\n{split} {name} {size}\n".encode())
            digest.update(text.read_bytes() if text.is_file() else b"-")
    return digest.hexdigest()
