"""Reads a data YAML: which classes, which pictures in which split, and where each picture's label file is.

Relative paths count from the YAML's own folder, ``path: .`` included; ultralytics counts that one from where it runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kd_yolo.errors import InputError

# As ultralytics has them: other files in an image folder are passed over.
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in ("avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp")
)
SPLIT_KEYS = ("train", "val", "test")
_MAKE = "kd-yolo data make"


@dataclass(frozen=True)
class DataSpec:
    """A data YAML with its paths resolved.

    Args:
        yaml_path: the file.
        root: what the splits are relative to.
        names: class names by class id, ids 0..n-1.
        splits: absolute folders or list files by split; "test" only if the YAML has it.
        raw: everything in the file.
    """

    yaml_path: Path
    root: Path
    names: dict[int, str]
    splits: dict[str, tuple[Path, ...]]
    raw: dict[str, Any]


def read_data_yaml(data_yaml: Path) -> DataSpec:
    """Reads and checks a data YAML, or the one in a folder.

    Raises:
        InputError: it is missing or not a data YAML, or a split's folder does not exist.
    """
    file = _yaml_file(Path(data_yaml).absolute())
    raw = _mapping(file)
    if "val" not in raw and "validation" in raw:
        raw["val"] = raw.pop("validation")
    root = _root(file, raw.get("path"))
    missing = [key for key in ("train", "val") if not raw.get(key)]
    if missing:
        raise InputError(
            f"{file} has no '{missing[0]}': expected a folder such as 'images/{missing[0]}', or a list of them."
        )
    splits = {key: _entries(file, root, key, raw[key]) for key in SPLIT_KEYS if raw.get(key)}
    return DataSpec(file, root, _names(file, raw), splits, raw)


def _yaml_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        named = [p for p in found if p.stem == "data"] or found
        if len(named) != 1:
            listed = ", ".join(p.name for p in named) or "none"
            raise InputError(f"{path} is a folder with {len(named)} YAML files ({listed}). Name the data YAML itself.")
        return named[0]
    if not path.is_file():
        raise InputError(f"data YAML {path} does not exist. For built-in data type: {_MAKE} street --preset demo")
    return path


def _mapping(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a YAML file: {error}") from error
    if raw is None:
        raise InputError(f"{file} is empty: expected 'train', 'val' and 'names'. See datasets/README.md.")
    if not isinstance(raw, dict):
        raise InputError(
            f"{file} holds a {type(raw).__name__}, expected a mapping with 'train', 'val' and 'names'."
            " See datasets/README.md."
        )
    return {str(key): value for key, value in raw.items()}


def _root(file: Path, path: object) -> Path:
    if path is None or path == "":
        return file.parent
    if not isinstance(path, str):
        raise InputError(
            f"{file} has 'path: {path!r}': expected a folder. Leave the key out to use the YAML's own folder."
        )
    root = (file.parent / Path(path).expanduser()).resolve()
    if not root.is_dir():
        raise InputError(
            f"{file} has 'path: {path}', which is {root} and does not exist."
            " Relative paths count from the YAML's folder; leave the key out to use that folder itself."
        )
    return root


def _names(file: Path, raw: dict[str, Any]) -> dict[int, str]:
    names, count = raw.get("names"), raw.get("nc")
    if names is None and isinstance(count, int) and count > 0:
        return {index: f"class_{index}" for index in range(count)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise InputError(
            f"{file} has 'names: {names!r}': expected a list of class names, or a mapping from class id to name."
        )
    try:
        by_id = {int(key): str(name) for key, name in names.items()}
    except (TypeError, ValueError):
        raise InputError(
            f"{file} has class ids {list(names)} in 'names': expected the numbers 0..{len(names) - 1}."
        ) from None
    if sorted(by_id) != list(range(len(names))):
        raise InputError(f"{file} has class ids {sorted(by_id)} in 'names': expected 0..{len(names) - 1} without gaps.")
    if count is not None and count != len(by_id):
        raise InputError(f"{file} has 'nc: {count}' but {len(by_id)} names. Leave 'nc' out.")
    return dict(sorted(by_id.items()))


def _entries(file: Path, root: Path, split: str, value: object) -> tuple[Path, ...]:
    """Folders and list files of one split, absolute."""
    values = value if isinstance(value, list) else [value]
    paths = []
    for entry in values:
        if not isinstance(entry, str):
            raise InputError(f"{file} has '{split}: {entry!r}': expected a folder, a .txt list, or a list of them.")
        path = (root / entry).resolve()
        if not path.exists():
            raise InputError(f"{file} has '{split}: {entry}', which is {path} and does not exist.{_make_hint(file)}")
        if path.is_file() and path.suffix.lower() != ".txt":
            raise InputError(f"{file} has '{split}: {entry}': expected a folder or a .txt list, not {path.suffix}.")
        paths.append(path)
    return tuple(paths)


def _make_hint(file: Path) -> str:
    """What to type to get the data, when the YAML's first comment says it."""
    first = file.read_text(encoding="utf-8-sig").partition("\n")[0].lstrip("# ")
    return f" Type: {first}" if first.startswith(_MAKE) else " Paths count from the YAML's folder, or from its 'path'."


def list_images(spec: DataSpec, split: str) -> list[Path]:
    """All pictures of a split, sorted; a listed picture need not exist. Empty when the YAML has no such split."""
    found: list[Path] = []
    for entry in spec.splits.get(split, ()):
        found += _listed(entry) if entry.is_file() else (p for p in entry.rglob("*.*") if p.is_file())
    return sorted({path for path in found if path.suffix.lower() in IMAGE_SUFFIXES})


def _listed(list_file: Path) -> list[Path]:
    lines = list_file.read_text(encoding="utf-8-sig").splitlines()
    # normpath, not resolve: links stay links, so that the label folder beside the named folder is found.
    return [Path(os.path.normpath(list_file.parent / line.strip())) for line in lines if line.strip()]


def label_path(image: Path) -> Path:
    """The label file of a picture: the last folder named ``images`` on its path becomes ``labels``."""
    before, found, after = str(image).rpartition(f"{os.sep}images{os.sep}")
    text = f"{before}{os.sep}labels{os.sep}{after}" if found else str(image)
    return Path(text).with_suffix(".txt")
