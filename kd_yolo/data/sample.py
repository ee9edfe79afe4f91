"""A few images of a data set as a set of its own, in a folder that may be thrown away."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path
from typing import Any

import yaml

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import MAX_TEXT_BYTES, read_bytes
from kd_yolo.data.source import find_class_folder, split_folder
from kd_yolo.data.spec import IMAGE_SUFFIXES, label_path, list_images, read_data_yaml


def sample_detection(data: str | Path, split: str, count: int, seed: int, folder: Path) -> Path:
    """Links some images of a split, with copies of their labels, into ``folder``; images without have empty ones.

    Ultralytics keeps what it reads of the labels beside them, and would note there that the whole set has only these.

    Args:
        data: data YAML.
        split: "train", "val" or "test".
        count: images; all if there are not more.
        seed: of the choice, which is also the order.
        folder: is made.

    Returns:
        A data YAML whose ``train`` and ``val`` are these images.

    Raises:
        InputError: the YAML is unusable, or the split has no images.
    """
    spec = read_data_yaml(data, (split,) if split in ("train", "val") else ())
    chosen = _choose([file for file in list_images(spec, split) if file.is_file()], count, seed)
    if not chosen:
        raise InputError(f"{data} has no images in its split '{split}'. It has: {', '.join(spec.splits)}.")
    images, labels = folder / "images", folder / "labels"
    images.mkdir(parents=True)
    labels.mkdir()
    for i, file in enumerate(chosen):
        _link(file, images / f"{i:06d}{file.suffix}")
        text = label_path(file)
        lines = read_bytes(text, limit=MAX_TEXT_BYTES, what="label file") if text.is_file() else b""
        (labels / f"{i:06d}.txt").write_bytes(lines)
    body: dict[str, Any] = {"path": str(folder.resolve()), "train": "images", "val": "images", "names": spec.names}
    body |= spec.extras
    target = folder / "data.yaml"
    target.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def sample_classes(data: str | Path, split: str, count: int, seed: int, folder: Path) -> Path:
    """The same for a classification set: links to some of ``data/split/<class>/<image>``.

    Returns:
        ``folder``, whose ``train`` and ``val`` are these images; classes without any are there, empty.

    Raises:
        InputError: there are no images.
    """
    root = split_folder(find_class_folder(data, (split,)), split)
    found = [file for file in root.glob("*/*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if not found:
        raise InputError(f"{data} is no classification set: expected {root}/<class>/<image>.")
    for name in ("train", "val"):
        for owner in sorted(entry for entry in root.iterdir() if entry.is_dir()):
            (folder / name / owner.name).mkdir(parents=True)
        for i, file in enumerate(_choose(sorted(found), count, seed)):
            _link(file, folder / name / file.parent.name / f"{i:06d}{file.suffix}")
    return folder


def _choose(files: list[Path], count: int, seed: int) -> list[Path]:
    return random.Random(seed).sample(files, min(count, len(files)))


def _link(source: Path, target: Path) -> None:
    """A link, or a copy where links are not allowed."""
    with contextlib.suppress(OSError):
        target.symlink_to(source.resolve())
        return
    shutil.copyfile(source, target)
