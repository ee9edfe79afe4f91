"""Takes people out of a gallery for good: vectors, rows, index and images are gone from its files afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.lock import locked
from kd_yolo.base.reading import first_few
from kd_yolo.base.registry import nearest
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.files import Manifest, Shard, read_manifest, write_manifest
from kd_yolo.search.gallery.lock import writing
from kd_yolo.search.gallery.shards import read_blocks, read_rows, sweep_files, sweep_images, write_shard

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CropFilter:
    """Crops to forget: those that all of what is given holds for.

    Attributes:
        person: identity.
        track: number of a track; one of ``source`` only, as every video counts its own.
        places: numbers of crops, as a query gives them.
        source: a file or stream, or a folder with all that is in it.
        between: first and last second in the source; crops without a time are never meant.
    """

    person: str | None = None
    track: int | None = None
    places: Sequence[int] | None = None
    source: str | None = None
    between: tuple[float, float] | None = None

    def check(self) -> None:
        """Raises a ConfigError where nothing, or nothing clear, is meant; an empty filter never means everybody."""
        for flag, value in (("--person", self.person), ("--source", self.source)):
            if value is not None and not value.strip():
                raise ConfigError(f"{flag} is empty: say whom to forget. Is a variable of the shell not set?")
        if self.source is not None and Path(self.source).name in {"", ".."}:
            raise ConfigError(
                f"--source {self.source} names no file and no folder of its own: give its full path, as a query prints"
                " it."
            )
        if self.places is not None and not len(self.places):
            raise ConfigError("--places is empty: give numbers of crops, as a query prints them.")
        if all(value is None for value in (self.person, self.track, self.places, self.source, self.between)):
            raise ConfigError("forget whom? Give --person, --track with --source, --places, --source, --from and --to.")
        if self.track is not None and self.source is None:
            raise ConfigError(f"--track {self.track} needs --source: every video counts its own tracks.")
        if self.between is not None and not self.between[0] <= self.between[1]:
            raise ConfigError(f"--from {self.between[0]} is after --to {self.between[1]}: seconds in the video.")


@dataclass(frozen=True)
class Forgotten:
    """What was taken out.

    Attributes:
        places: numbers of the crops.
        left: how many crops are still in the gallery.
    """

    places: tuple[int, ...]
    left: int


def find_crops(folder: Path, crop_filter: CropFilter) -> Forgotten:
    """What :func:`forget` would take out; nothing is changed.

    Raises:
        ConfigError: nothing, or nothing clear, is meant.
        InputError: no crop is meant; a damaged gallery.
    """
    crop_filter.check()
    with locked(folder, exclusive=False):
        manifest = read_manifest(folder)
        return _report(
            folder,
            manifest,
            [_filter_mask(read_rows(folder, shard), crop_filter) for shard in manifest.shards],
            crop_filter,
        )


def forget(folder: Path, crop_filter: CropFilter) -> Forgotten:
    """Takes crops out; the files that held them are rewritten without them.

    A process that has the gallery open takes notice at its next query. A kill leaves the gallery as it was, or without
    these crops; what is left of their files then goes with the next command that writes to the gallery.

    Args:
        folder: of the gallery.
        crop_filter: the crops.

    Raises:
        ConfigError: nothing, or nothing clear, is meant.
        InputError: no crop is meant; a damaged gallery.
    """
    crop_filter.check()
    with writing(folder) as manifest:
        masks = [_filter_mask(read_rows(folder, shard), crop_filter) for shard in manifest.shards]
        report = _report(folder, manifest, masks, crop_filter)
        number, shards = manifest.next_name, []
        for shard, mask_n in zip(manifest.shards, masks, strict=True):
            if not mask_n.any():
                shards.append(shard)
            elif not mask_n.all():
                shards.append(_without(folder, shard, mask_n, f"{number:06d}", manifest.dim))
                number += 1
        update = {"shards": tuple(shards), "next_name": number, "epoch": manifest.epoch + 1, "index": None}
        after = write_manifest(folder, manifest.model_copy(update=update))
        sweep_files(folder, after)
        sweep_images(folder, after)
    return report


def _without(folder: Path, shard: Shard, mask_n: Mask, name: str, dim: int) -> Shard:
    """A shard with what is not meant of another."""

    def remaining_vectors() -> Iterator[Floats]:
        start = 0
        for block_bd in read_blocks(folder, shard, dim):
            yield block_bd[~mask_n[start : start + len(block_bd)]]
            start += len(block_bd)

    return write_shard(folder, name, remaining_vectors(), read_rows(folder, shard).filter(~mask_n), dim)


def _filter_mask(table: Any, crop_filter: CropFilter) -> Mask:
    """Which rows are meant (N)."""
    mask_n = np.ones(len(table), np.bool_)
    if crop_filter.person is not None:
        mask_n &= [_same_name(name, crop_filter.person) for name in table["identity"]]
    if crop_filter.track is not None:
        mask_n &= table["track"].to_numpy() == crop_filter.track
    if crop_filter.places is not None:
        mask_n &= np.isin(table["place"].to_numpy(), np.asarray(crop_filter.places, np.int64))
    if crop_filter.source is not None:
        mask_n &= [_is_from(source, crop_filter.source) for source in table["source"]]
    if crop_filter.between is not None:
        seconds_n = table["seconds"].fill_null(float("nan")).to_numpy()
        mask_n &= (seconds_n >= crop_filter.between[0]) & (seconds_n <= crop_filter.between[1])
    return mask_n


def _same_name(name: str | None, wanted: str) -> bool:
    """Whether it is the same identity; 0018 is 18."""
    if name is None or name == wanted:
        return name is not None
    return name.isdecimal() and wanted.isdecimal() and int(name) == int(wanted)


def _is_from(source: str, wanted: str) -> bool:
    names = {wanted.rstrip("/"), os.path.abspath(wanted)}  # noqa: PTH100  # without .. and with links as they are
    return any(source == name or source.startswith(name + os.sep) for name in names)


def _report(folder: Path, manifest: Manifest, masks: Sequence[Mask], crop_filter: CropFilter) -> Forgotten:
    tables = [read_rows(folder, shard) for shard in manifest.shards]
    places = tuple(
        int(place) for table, mask_n in zip(tables, masks, strict=True) for place in table["place"].to_numpy()[mask_n]
    )
    if not places:
        raise InputError(f"no crop in {folder} is meant by that: nothing was forgotten.{_hint(tables, crop_filter)}")
    return Forgotten(places, manifest.count - len(places))


def _hint(tables: Sequence[Any], crop_filter: CropFilter) -> str:
    """What there is instead."""
    for name, wanted in (("identity", crop_filter.person), ("source", crop_filter.source)):
        known = sorted({value for table in tables for value in table[name] if value is not None})
        if wanted is not None:
            return f"{nearest(wanted, known)} Known ({name}): {first_few(known) or 'none'}."
    return ""
