"""Reads a data YAML: which classes, which images in which split, and where each image's label file is.

Relative paths count from the YAML's own folder first, ``path: .`` included, and then from where ultralytics counts
them; see :mod:`kd_yolo.data.places`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_text, read_yaml_value, shown
from kd_yolo.data.places import SPLIT_KEYS, Places, find_places
from kd_yolo.data.source import find_data_yaml
from kd_yolo.data.suffixes import IMAGE_SUFFIXES
from kd_yolo.data.tree import files_below
from kd_yolo.data.upstream import datasets_dir, is_shipped
from kd_yolo.data.values import class_names, duplicate_names, extra_values

__all__ = ["IMAGE_SUFFIXES", "SPLIT_KEYS", "DataSpec", "label_path", "list_images", "read_data_yaml"]
_MAKE = "kd-yolo data make"


@dataclass(frozen=True)
class DataSpec:
    """A data YAML with its paths resolved and its values checked.

    Args:
        yaml_path: the file.
        root: what the splits are relative to.
        names: class names by class id, ids 0..n-1.
        splits: absolute folders or list files by split, all of which exist.
        extras: ``channels``, ``kpt_shape``, ``flip_idx``, ``kpt_names`` and ``kpt_oks_sigmas`` where the YAML has them.
        missing: by split, a place that the YAML names and that does not exist.
        notes: what the user should know, a sentence each.
    """

    yaml_path: Path
    root: Path
    names: dict[int, str]
    splits: dict[str, tuple[Path, ...]]
    extras: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return int(self.extras.get("channels", 3))


def read_data_yaml(data: str | Path, needs: Collection[str] = ("train", "val")) -> DataSpec:
    """Reads and checks a data YAML.

    Args:
        data: what :func:`kd_yolo.data.source.find_data_yaml` takes.
        needs: splits whose places must exist; ultralytics asks for ``val`` or the split that is evaluated only.

    Raises:
        InputError: it is missing or not a data YAML, or a split that is needed does not exist.
    """
    file = find_data_yaml(data)
    raw = _mapping(file)
    names = class_names(file, raw)
    extras = extra_values(file, raw, len(names))
    absent = [key for key in ("train", "val") if not raw.get(key)]
    if absent:
        raise InputError(
            f"{file} has no '{absent[0]}': expected a folder such as 'images/{absent[0]}', or a list of them."
        )
    if is_shipped(file):
        _check_shipped(file, raw, needs)
    places = find_places(file, raw)
    gone = [split for split in needs if split in places.missing]
    if gone:
        raise InputError(_gone(file, raw, gone[0], places))
    notes = (*places.notes, *duplicate_names(names))
    return DataSpec(file, places.root, names, places.splits, extras, places.missing, notes)


def _mapping(file: Path) -> dict[str, Any]:
    raw = read_yaml_value(file, "data YAML")
    if raw is None:
        raise InputError(f"{file} is empty: expected 'train', 'val' and 'names'. See datasets/README.md.")
    if not isinstance(raw, dict):
        raise InputError(
            f"{file} holds a {type(raw).__name__}, expected a mapping with 'train', 'val' and 'names'."
            " See datasets/README.md."
        )
    body = {key if isinstance(key, str) else shown(key): None if raw[key] == "None" else raw[key] for key in raw}
    if "val" not in body and "validation" in body:
        body["val"] = body.pop("validation")
    return body


def _check_shipped(file: Path, raw: dict[str, Any], needs: Collection[str]) -> None:
    """Says what to do when the images of a set that ultralytics would fetch are not here."""
    root = datasets_dir() / str(raw.get("path", ""))
    near = Path(str(raw.get("path", "")))
    if not any(place.is_dir() for place in (root, near)):
        raise InputError(f"{_not_here(file, root)}{_fetch(raw)}")
    places = find_places(file, raw)
    gone = [places.missing[split] for split in needs if split in places.missing]
    if gone:
        raise InputError(f"{_not_here(file, gone[0])}{_fetch(raw)}")


def _not_here(file: Path, place: Path) -> str:
    return (
        f"{file.name} is a data set of ultralytics whose images are not here: expected {place}. ultralytics would fetch"
        " it, kd-yolo fetches nothing: get it on a machine that may and put it there, or say where your data sets are"
        " (yolo settings datasets_dir=...)."
    )


def _fetch(raw: dict[str, Any]) -> str:
    """The address in a YAML of ultralytics, which no stranger wrote."""
    words = str(raw.get("download", "")).split()
    return f" It comes from {words[0][:200]}" if len(words) == 1 and words[0].startswith("https://") else ""


def _gone(file: Path, raw: dict[str, Any], split: str, places: Places) -> str:
    value = shown(raw[split]).strip("'") if isinstance(raw[split], str) else shown(raw[split])
    hint = _make_hint(file)
    if raw.get("download") and not hint.startswith(" Type"):
        hint += " Its 'download' is not run: get the images yourself and put them there."
    return f"{file} has '{split}: {value}', which is {places.missing[split]} and does not exist.{hint}"


def _make_hint(file: Path) -> str:
    """What to type to get the data, when the YAML's first comment says it."""
    first = read_text(file).partition("\n")[0].lstrip("# ")[:200]
    return f" Type: {first}" if first.startswith(_MAKE) else " Paths count from the YAML's folder, or from its 'path'."


def list_images(spec: DataSpec, split: str) -> list[Path]:
    """All images of a split in ultralytics' order; what is listed twice is trained on twice, and need not exist.

    Empty when the YAML has no such split.

    Raises:
        InputError: a folder or list that cannot be read, or links without end.
    """
    found: list[Path] = []
    for entry in spec.splits.get(split, ()):
        found += files_below(entry, IMAGE_SUFFIXES) if entry.is_dir() else _listed(entry)
    return sorted(found, key=str)


def _listed(list_file: Path) -> list[Path]:
    """The images in a list: ``./`` and other relative lines count from its folder, else from the working directory.

    Ultralytics counts only ``./`` from the list's folder.
    """
    lines = (line.strip() for line in read_text(list_file, what="list of images").splitlines())
    wanted = [line for line in lines if line.rpartition(".")[-1].lower() in _FORMATS and "\0" not in line]
    # normpath, not resolve: links stay links, so that the label folder beside the named folder is found.
    return [Path(os.path.normpath(_place(list_file.parent, line))) for line in wanted]


_FORMATS = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES)


def _place(folder: Path, line: str) -> Path:
    beside = folder / line
    if line.startswith(("./", "/")) or beside.exists() or not Path(line).exists():
        return beside
    return Path(line).absolute()


def label_path(image: Path) -> Path:
    """The label file of an image: the last folder named ``images`` on its path becomes ``labels``."""
    before, found, after = str(image).rpartition(f"{os.sep}images{os.sep}")
    text = f"{before}{os.sep}labels{os.sep}{after}" if found else str(image)
    return Path(text.rpartition(".")[0] + ".txt")
