"""A ReID set as a whole: its crops, whether they can be used, and what is odd about them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.reid.data.copies import copy_notes, file_size
from kd_yolo.reid.data.decode import is_readable
from kd_yolo.reid.data.layouts import read_layout
from kd_yolo.reid.data.oddities import test_notes, train_notes
from kd_yolo.reid.data.sample import GALLERY, QUERY, TRAIN, Sample, first_names

_READERS = 2
_DECODED = 3000  # crops; about 5 s. Of larger sets only the headers are read.


@dataclass(frozen=True)
class ReIDSet:
    """Crops of people.

    Attributes:
        folder: where they lie.
        name: of the folder.
        layout: what the folder was recognised as.
        train: to train on; empty where the folder has queries and gallery only.
        query: to look for; empty, as the gallery is, where the folder has training crops only.
        gallery: to be found.
        notes: what is odd but does not hinder.
        names: names of the identities where they are not numbers.
        sha256: of names and sizes of all files: equal for equal data wherever they lie.
    """

    folder: Path
    name: str
    layout: str
    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    names: dict[int, str] = field(default_factory=dict)
    sha256: str = ""

    @property
    def subsets(self) -> dict[str, tuple[Sample, ...]]:
        """The subsets that have crops, by name."""
        parts = {TRAIN: self.train, QUERY: self.query, GALLERY: self.gallery}
        return {name: samples for name, samples in parts.items() if samples}

    def require(self, *subsets: str) -> None:
        """Checks that subsets are there.

        Raises:
            InputError: one of them is not.
        """
        missing = [name for name in subsets if name not in self.subsets]
        if missing:
            raise InputError(
                f"{self.folder} ({self.layout}) has no {' and no '.join(missing)} set, only"
                f" {', '.join(self.subsets)}: name a folder that has them, or make one: kd-yolo data make reid"
            )


def read_reid_set(folder: str | Path, *, max_rank: int = 50, decode: bool | None = None) -> ReIDSet:
    """Reads and checks a ReID set.

    Args:
        folder: in any of the layouts of :mod:`kd_yolo.reid.data.layouts`.
        max_rank: length of the CMC curve that the gallery is to fill.
        decode: decode every crop to find corrupt ones; None does so for small sets, and reads headers of large ones.

    Raises:
        InputError: no such folder, no known layout, an empty subset, a subset without a readable crop, a training set
            of one identity, or no query with anything to find.
    """
    folder = Path(folder).absolute()
    listing = read_layout(folder)
    count = sum(map(len, listing.subsets.values()))
    whole = count <= _DECODED if decode is None else decode
    notes, parts = list(listing.notes), dict[str, tuple[Sample, ...]]()
    for name, samples in listing.subsets.items():
        parts[name], more = _readable(folder, name, samples, whole=whole)
        notes += more
    train, query, gallery = (parts.get(name, ()) for name in (TRAIN, QUERY, GALLERY))
    if train:
        notes += train_notes(folder, train)
    if query:
        notes += test_notes(folder, train, query, gallery, max_rank=max_rank)
        notes += copy_notes(train, query, gallery)
    elif train:
        notes.append("no query and gallery: the ranking of held-out training identities is all that can be measured.")
    return ReIDSet(
        folder, folder.name, listing.layout, train, query, gallery, tuple(notes), listing.names,
        _digest(folder, listing.subsets),
    )  # fmt: skip


def _readable(
    folder: Path, name: str, samples: Sequence[Sample], *, whole: bool
) -> tuple[tuple[Sample, ...], list[str]]:
    """The samples whose images can be read, and a note on the others."""
    with ThreadPoolExecutor(_READERS) as pool:
        fine = list(pool.map(lambda sample: is_readable(sample.path, whole=whole), samples))
    corrupt = [sample.path for sample, is_fine in zip(samples, fine, strict=True) if not is_fine]
    if not corrupt:
        return tuple(samples), []
    found = f"{len(corrupt)} of {len(samples)} {name} image(s) of {folder} cannot be read: {first_names(corrupt)}."
    if len(corrupt) == len(samples):
        raise InputError(f"{found} Copy the data again.")
    return (
        tuple(sample for sample, is_fine in zip(samples, fine, strict=True) if is_fine),
        [f"{found} They are left out."],
    )


def _digest(folder: Path, subsets: dict[str, list[Sample]]) -> str:
    """Content hash; an image counts by its name and size, which is fast and catches what people change."""
    digest = hashlib.sha256()
    for name, samples in sorted(subsets.items()):
        for sample in samples:
            size, file = file_size(sample.path), Path(os.path.relpath(sample.path, folder)).as_posix()
            line = f"{name} {file} {sample.identity} {sample.camera} {size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))  # names that are not UTF-8 are
    return digest.hexdigest()
