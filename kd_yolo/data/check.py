"""Checks a detection set before training starts: exactly what training would use, and what it would leave out."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import first_few, printable, read_bytes, shown
from kd_yolo.data.resolve import resolved_yaml
from kd_yolo.data.spec import DataSpec, label_path, list_images, read_data_yaml
from kd_yolo.data.split_check import LeftOut, SplitReport, check_split

__all__ = [
    "DataReport",
    "LeftOut",
    "SplitReport",
    "check_detection_data",
    "check_for_training",
    "resolved_yaml",
]
_DECODED = 2000  # images; about 5 s
TASKS = ("detect", "segment", "pose", "obb")


@dataclass(frozen=True)
class DataReport:
    """What is in a detection set.

    Args:
        yaml_path: the data YAML.
        names: class names by id.
        splits: report by split.
        sha256: of class names, image names and sizes, and labels: equal for equal data wherever it lies.
        task: the task that the labels were read for.
        channels: of the images.
        notes: what the user should know, a sentence each.
    """

    yaml_path: Path
    names: dict[int, str]
    splits: dict[str, SplitReport]
    sha256: str
    task: str = "detect"
    channels: int = 3
    notes: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Images of all splits that training leaves out, with the reason."""
        return tuple(image for report in self.splits.values() for image in report.left_out)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """The same without the reason."""
        return tuple(image.file for image in self.left_out)

    @property
    def rewritten(self) -> tuple[Path, ...]:
        """Images of all splits that ultralytics will rewrite."""
        return tuple(file for report in self.splits.values() for file in report.rewritten)


def check_detection_data(
    data: str | Path, nc_expected: int | None = None, *, decode: bool = True, task: str | None = None
) -> DataReport:
    """Reads a whole detection set.

    What ultralytics' label cache would leave out is in the report, with the reason. Three things are refused here that
    ultralytics goes on with: bad lines in half of a split's label files or more (numbers of another data set, or
    pixels), a split without any label (validation would choose the best epoch by nothing), and images that pass its
    check but do not decode (they end its training with an error).

    Args:
        data: the YAML, a folder with one, or the name of one that ultralytics ships.
        nc_expected: number of classes that the model has, None when any number will do.
        decode: look into every image; without it only missing and empty files are found.
        task: what is trained ("detect", "segment", "pose", "obb"); None is "pose" with a ``kpt_shape``, else "detect".

    Raises:
        InputError: the YAML is unusable, labels are of another task, a split has no usable image, or see above.
        ConfigError: the number of classes is not the expected one.
    """
    spec = read_data_yaml(data)
    if nc_expected is not None and len(spec.names) != nc_expected:
        names = first_few([shown(name)[1:-1] for name in spec.names.values()])
        raise ConfigError(
            f"{spec.yaml_path} has {len(spec.names)} classes ({names}),"
            f" expected {nc_expected} as in the model."
            " Use data with the model's classes, or fine-tune the model on this data first."
        )
    task = task if task in TASKS else ("pose" if "kpt_shape" in spec.extras else "detect")
    _check_keypoints(spec, task)
    images = {split: list_images(spec, split) for split in spec.splits}
    checked = {split: check_split(spec, split, files, task, decode=decode) for split, files in images.items()}
    splits = {split: report for split, report in checked.items() if split != "test" or report.images}
    for split in ("train", "val"):
        if splits[split].labelled == 0:
            first = images[split][0]
            raise InputError(
                f"no '{split}' image of {spec.yaml_path} has a label: {printable(first)} should have"
                f" {printable(label_path(first))}."
                " Images lie in a folder named 'images', labels beside it in 'labels'."
            )
    report = DataReport(spec.yaml_path, spec.names, splits, _digest(spec, images), task, spec.channels, spec.notes)
    _check_kind(report)
    return report


def _check_kind(report: DataReport) -> None:
    """Outlines and oriented boxes cannot be trained on boxes; ultralytics fails when it builds the data set."""
    if report.task not in ("segment", "obb"):
        return
    wanted = "x1 y1 x2 y2 x3 y3 ..." if report.task == "segment" else "x1 y1 x2 y2 x3 y3 x4 y4"
    for split, found in report.splits.items():
        if found.first_boxes is not None:
            raise InputError(
                f"{printable(found.first_boxes)} ('{split}') has boxes only, training for {report.task} needs lines of"
                f" 'class {wanted}'. Give data with such labels, or train a detection model (such as yolov8n.yaml) on"
                " this one."
            )


def check_for_training(data: str | Path, task: str | None = None) -> DataReport:
    """The check before a run; large sets are not decoded, as ultralytics does that itself and caches what it found.

    Args:
        data: see :func:`check_detection_data`.
        task: of the model; see :func:`check_detection_data`.

    Raises:
        InputError: see :func:`check_detection_data`.
    """
    spec = read_data_yaml(data)
    is_small = sum(len(list_images(spec, split)) for split in spec.splits) <= _DECODED
    report = check_detection_data(data, decode=is_small, task=task)
    note = "" if is_small else f"more than {_DECODED} images: their pixels are not looked into"
    return replace(report, notes=(*report.notes, note)) if note else report


def check_for_validation(data: str | Path, split: str, task: str) -> DataSpec:
    """Checks that a split has images, and labels that a model of this task can be judged by; nothing is decoded.

    Args:
        data: see :func:`check_detection_data`.
        split: "train", "val" or "test"; the other splits need not exist.
        task: of the model.

    Raises:
        InputError: the split has no images, or labels of another task; see :func:`check_detection_data`.
    """
    spec = read_data_yaml(data, (split,) if split in ("train", "val") else ())
    if split in spec.missing:
        raise InputError(f"{data} names images for '{split}', but {spec.missing[split]} does not exist.")
    files = list_images(spec, split)
    if not files:
        raise InputError(f"{data} has no images in its split '{split}'. It has: {', '.join(spec.splits)}.")
    _check_keypoints(spec, task)
    if task in ("segment", "obb", "pose"):
        found = {split: check_split(spec, split, files, task, decode=False)}
        _check_kind(DataReport(spec.yaml_path, spec.names, found, "", task))
    return spec


def _check_keypoints(spec: DataSpec, task: str) -> None:
    if task == "pose" and "kpt_shape" not in spec.extras:
        raise InputError(f"{spec.yaml_path} has no 'kpt_shape': a pose model needs it, such as kpt_shape: [17, 3].")


def _digest(spec: DataSpec, images: dict[str, list[Path]]) -> str:
    """Content hash; an image counts by its name and size, which is fast and catches what people change."""
    digest = hashlib.sha256(repr(sorted(spec.names.items())).encode())
    for split, files in sorted(images.items()):
        for file in sorted(set(files)):
            text = label_path(file)
            size = file.stat().st_size if file.is_file() else -1
            name = os.fsencode(Path(os.path.relpath(file, spec.root)).as_posix())
            digest.update(f"\n{split} ".encode() + name + f" {size}\n".encode())
            digest.update(read_bytes(text, limit=64 << 20) if text.is_file() else b"-")
    return digest.hexdigest()
