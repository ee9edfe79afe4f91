"""A folder of images an identity; nothing tells the camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kd_yolo.reid.data.sample import MAX_NUMBER, Listing, Sample, first_names, images_in


def has_identity_folders(folder: Path) -> bool:
    """Whether a folder has sub-folders with images."""
    return any(images_in(path) for path in _folders(folder))


def read_identity_folders(folder: Path, subsets: Mapping[str, Path]) -> Listing:
    """Reads ``<identity>/<image>``; all images get camera 0.

    An identity is the number that its folder is named by, or where some folder has another name, the place of the name
    among the sorted names of all subsets.

    Args:
        folder: of the set.
        subsets: the folder of each subset.
    """
    names = sorted({path.name for place in subsets.values() for path in _folders(place)})
    numbers = _numbers(names)
    found: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for subset, place in subsets.items():
        found[subset] = [Sample(image, numbers[path.name], 0) for path in _folders(place) for image in images_in(path)]
        loose = images_in(place)
        empty = [path for path in _folders(place) if not images_in(path)]
        where = place.relative_to(folder).as_posix()
        if loose:
            notes.append(f"{where}: {len(loose)} image(s) passed over, in no identity folder: {first_names(loose)}.")
        if empty:
            notes.append(f"{where}: {len(empty)} identity folder(s) without images: {first_names(empty)}.")
    is_named = any(not name.isdecimal() or int(name) != number for name, number in numbers.items())
    return Listing("identity folders", found, tuple(notes), {v: k for k, v in numbers.items()} if is_named else {})


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _numbers(names: list[str]) -> dict[str, int]:
    """A number for each name: its own where all names are different numbers."""
    own = {name: int(name) for name in names if name.isdecimal() and int(name) < MAX_NUMBER}
    if len(set(own.values())) == len(names):
        return own
    return {name: place for place, name in enumerate(names)}
