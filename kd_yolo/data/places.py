"""Where the images of a data YAML are: the folders and lists of its splits, as ultralytics finds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown
from kd_yolo.data.source import YAML_SUFFIXES
from kd_yolo.data.suffixes import IMAGE_SUFFIXES
from kd_yolo.data.upstream import datasets_dir

SPLIT_KEYS = ("train", "val", "test")
MAX_ENTRIES = 10_000


@dataclass(frozen=True)
class Places:
    """What the paths of a data YAML mean here.

    Attributes:
        root: what the splits are relative to.
        splits: absolute folders or list files by split, all of which exist.
        missing: by split, the first of its places that does not exist; such a split is in no other field.
        notes: what the user should know, a sentence each.
    """

    root: Path
    splits: dict[str, tuple[Path, ...]]
    missing: dict[str, Path]
    notes: tuple[str, ...] = ()


def find_places(file: Path, raw: dict[str, Any]) -> Places:
    """Finds the splits that a YAML names.

    A relative ``path`` counts from the YAML's folder, else from the working directory, else from ultralytics'
    ``datasets_dir``; the first where train and val are, else the first that exists. Ultralytics does not look in the
    YAML's folder (so that ``path: .`` depends on where the command runs), and that is where people mean it.

    Raises:
        InputError: a path that is none, or that exists nowhere.
    """
    entries = {key: _entries(file, key, raw[key]) for key in SPLIT_KEYS if raw.get(key)}
    roots = _roots(file, raw.get("path"))
    there = [root for root in roots if root.is_dir()]
    tried = [_places(root, entries) for root in there or roots[:1]]  # absolute splits need no root
    complete = next((places for places in tried if not {"train", "val"} & set(places.missing)), None)
    if complete is None and not there:
        looked = ", ".join(dict.fromkeys(map(str, roots)))
        raise InputError(
            f"{file} has 'path: {shown(raw['path']).strip(chr(39))}', which does not exist (looked for: {looked})."
            " Relative paths count from the YAML's folder; leave the key out to use that folder itself."
        )
    return complete or tried[0]


def _roots(file: Path, path: object) -> list[Path]:
    if path is None or path == "":
        return [file.parent]
    if not isinstance(path, str) or "\0" in path:
        raise InputError(
            f"{file} has 'path: {shown(path)}': expected a folder. Leave the key out to use the YAML's own folder."
        )
    try:
        given = Path(path).expanduser()
        roots = [(place / given).resolve() for place in (file.parent, Path(), datasets_dir())]
        return [root for root in roots if root.exists()] or roots
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:100]
        raise InputError(f"{file} has 'path: {shown(path)}', which cannot be a folder: {reason}.") from None


def _entries(file: Path, split: str, value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_ENTRIES:
        raise InputError(f"{file} has {len(values)} places for '{split}', expected at most {MAX_ENTRIES}.")
    for entry in values:
        if not isinstance(entry, str) or not entry or "\0" in entry:
            raise InputError(
                f"{file} has '{split}: {shown(entry)}': expected a folder, a .txt list, or a list of them."
            )
        if Path(entry).suffix.lower() in IMAGE_SUFFIXES | YAML_SUFFIXES and not Path(entry).is_dir():
            raise InputError(
                f"{file} has '{split}: {shown(entry)}': expected a folder or a .txt list, not {Path(entry).suffix}."
            )
    return tuple(values)


def _places(root: Path, entries: dict[str, tuple[str, ...]]) -> Places:
    splits: dict[str, tuple[Path, ...]] = {}
    missing: dict[str, Path] = {}
    for split, values in entries.items():
        found = tuple(_resolved(root, value) for value in values)
        gone = [path for path in found if not _exists(path)]
        if gone:
            missing[split] = gone[0]
        else:
            splits[split] = found
    notes = [f"'{split}' is left out: {path} does not exist" for split, path in missing.items() if split == "test"]
    return Places(root, splits, missing, tuple(notes))


def _resolved(root: Path, entry: str) -> Path:
    """As ultralytics does: ``../train/images`` of a Roboflow export lies in the YAML's folder after all."""
    try:
        path = (root / entry).resolve()
        if not path.exists() and entry.startswith("../"):
            path = (root / entry[3:]).resolve()
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return root / entry
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
