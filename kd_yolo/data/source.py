"""What ``data=`` names: one local YAML file, or for a classifier one local folder. Everything else is refused.

Ultralytics takes more: URLs, archives, NDJSON, names on its platform. It fetches and unpacks them and runs the
``download:`` of what it finds, so none of that may reach it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.places import find_in_project
from kd_yolo.base.reading import first_few, read_yaml_value, regular_file, shown
from kd_yolo.data.tree import check_files, walk_folders
from kd_yolo.data.upstream import datasets_dir, shipped_yaml

YAML_SUFFIXES = frozenset((".yaml", ".yml"))
ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".txz", ".tbz2", ".7z", ".rar"))
VAL_FOLDERS = ("val", "validation", "valid")
MAX_CLASSES = 100_000
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:/")  # a Path makes one slash of two; a drive has one letter
_OFFLINE = "kd-yolo fetches nothing: get it on a machine that may, unpack it here, and name the data YAML in it."
_MAKE = "For built-in data type: kd-yolo data make street --preset demo"


def find_data_yaml(data: str | Path) -> Path:
    """The data YAML that ``data=`` names, absolute.

    A file; a folder with one YAML in it, here or, by its name, in ``datasets/``; or the name of a YAML that ultralytics
    ships (``coco8.yaml``, ``coco8``), unless there is a file of that name here. The suffix counts in capitals as well.

    Raises:
        InputError: a URL, an archive, another kind of file, no regular file, nothing at all, or several YAMLs.
    """
    path = _local(data)
    if not path.exists():
        path = (find_in_project("datasets", data) or path).absolute()
    if path.is_dir():
        return _yaml_in(path)
    if not path.exists():
        known = shipped_yaml(str(data))
        if known is not None:
            return known
        near = [path.with_name(path.name + suffix) for suffix in (".yaml", ".yml")]
        path = next((file for file in near if path.suffix.lower() not in YAML_SUFFIXES and file.is_file()), path)
    _check_suffix(path)
    if not path.exists():
        raise InputError(f"data YAML {path} does not exist. {_MAKE}")
    return regular_file(path, "data YAML")


def find_class_folder(data: str | Path, needs: Collection[str] = ("train", "val")) -> Path:
    """The folder of a classification set, ``<split>/<class>/<image>``, that ``data=`` names; absolute.

    A relative name that is not here counts from ultralytics' ``datasets_dir``, as there.

    Args:
        data: what the user gave.
        needs: splits that must be there. Without ``train`` ultralytics would split the set into a new folder.

    Raises:
        InputError: a URL, an archive, a file, nothing at all, a missing split, or files that are none.
    """
    path = _local(data)
    if not path.exists() and (datasets_dir() / str(data)).is_dir():
        path = (datasets_dir() / str(data)).absolute()
    if not path.is_dir():
        if path.exists():
            raise InputError(f"{path} is a file: a classifier's data is a folder with train/<class>/<image> and val/.")
        raise InputError(
            f"classification data {path} does not exist: expected a folder with train/<class>/<image> and val/."
            f" {_OFFLINE.replace('name the data YAML in it', 'name the folder')}"
        )
    for split in needs:
        if not split_folder(path, split).is_dir():
            raise InputError(f"{path} is no classification set: expected {path / split}/<class>/<image>.")
    _check_class_files(path)
    return path


def split_folder(root: Path, split: str) -> Path:
    """The folder of a classification set's split, as ultralytics takes it: "val" may be called otherwise or be "test".

    Returns:
        A folder; one that need not exist when there is none.
    """
    names = {"val": (*VAL_FOLDERS, "test"), "test": ("test", *VAL_FOLDERS)}.get(split, (split,))
    return next((root / name for name in names if (root / name).is_dir()), root / split)


def _local(data: str | Path) -> Path:
    text = str(data)
    if not text.strip():
        raise InputError("data= is empty: expected a data YAML.")
    if "\0" in text or len(text) > 4096 or _has_long_name(text):
        raise InputError(f"data={shown(text, 60)} is not a path that can exist: expected a data YAML.")
    if _SCHEME.match(text.strip()):
        raise InputError(f"data={shown(text)} is not on this machine. {_OFFLINE}")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # no such user
        return Path(text).absolute()


def _has_long_name(text: str) -> bool:
    return any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in text.split("/"))


def _check_suffix(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in YAML_SUFFIXES:
        return
    if suffix in ARCHIVES:
        raise InputError(f"data {path} is an archive: unpack it and name the data YAML in it.")
    if suffix in (".ndjson", ".jsonl", ".json"):
        raise InputError(
            f"data {path} is {suffix[1:].upper()}: convert it to a data YAML with image and label folders first."
        )
    if not path.exists() and not suffix:
        raise InputError(f"data {path} does not exist, nor datasets/{path.name}: expected a data YAML (.yaml). {_MAKE}")
    there = "" if path.exists() else " and does not exist"
    raise InputError(f"data {path} has the suffix {shown(path.suffix)}{there}: expected a data YAML (.yaml). {_MAKE}")


def _yaml_in(folder: Path) -> Path:
    """The one data YAML in a folder: on top, else below; ``data.yaml`` or the folder's own name of several."""
    found = [*_yamls(folder.iterdir())]
    found = found or [*_yamls(file for inner in walk_folders(folder) for file in inner.iterdir())]
    for stem in ("data", folder.name):  # ultralytics knows the second only; exports call theirs data.yaml
        named = [file for file in found if file.stem == stem]
        found = named if len(named) == 1 else found
    if len(found) == 1:
        return regular_file(found[0], "data YAML")
    listed = first_few([file.name for file in sorted(found)]) or "none"
    raise InputError(f"{folder} is a folder with {len(found)} YAML files ({listed}). Name the data YAML itself.")


def _yamls(files: Iterator[Path]) -> Iterator[Path]:
    return (file for file in files if file.suffix.lower() in YAML_SUFFIXES and not file.name.startswith("."))


def _check_class_files(root: Path) -> None:
    check_files(root)
    names_file = root / ".ndjson.yaml"  # ultralytics writes it when it converts NDJSON, and reads class names from it
    if not names_file.exists():
        return
    body = read_yaml_value(names_file, "class names")
    names = body.get("names") if isinstance(body, dict) else None
    plain = isinstance(names, dict | list) and 0 < len(names) <= MAX_CLASSES
    values = list(names.values() if isinstance(names, dict) else names) if plain and names is not None else []
    if not plain or not all(isinstance(value, str | int | float) for value in values):
        raise InputError(f"{names_file} has no list of class names: remove it, or convert the set again.")
