"""The files of a gallery and ``gallery.json``, which says which of them count.

::

    gallery.json             format, model, shards, index, threshold; renamed into place last
    vectors/000000.npy       (N,D) float32, unit rows
    rows/000000.parquet      one row per vector, see rows.py
    images/3f/3f....jpg    one crop per row, named by the row's key
    index/000007.faiss       of IVF and HNSW only; can be made again from the vectors

A file that ``gallery.json`` does not name is a leftover and swept away by the next one who writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.reading import read_json_value
from kd_yolo.config.base import StrictModel

Kind = Literal["flat", "ivf", "hnsw"]
KINDS: tuple[str, ...] = get_args(Kind)
VERSION = 1
MANIFEST = "gallery.json"
NAME = r"^\d{6,12}$"  # of a shard and an index: no path leads out of the gallery
VECTORS, ROWS, IMAGES, INDEX = "vectors", "rows", "pictures", "index"
ENDINGS = {VECTORS: ".npy", ROWS: ".parquet", INDEX: ".faiss"}


class Shard(StrictModel):
    """Crops that were added together.

    Attributes:
        name: of its files.
        count: how many crops.
        vectors_crc, rows_crc: CRC-32 of the values of the vectors, and of the file of the rows.
    """

    name: str = Field(pattern=NAME)
    count: int = Field(ge=1, le=1 << 40)
    vectors_crc: int
    rows_crc: int


class SavedIndex(StrictModel):
    """An index on disk.

    Attributes:
        name: of its file.
        count: it holds the first so many crops.
        trained: how many crops there were when its cells were found.
        crc: CRC-32 of the file.
    """

    name: str = Field(pattern=NAME)
    count: int = Field(ge=1, le=1 << 40)
    trained: int = Field(ge=1)
    crc: int


class Threshold(StrictModel):
    """Below which distance two crops count as one person.

    Attributes:
        distance: cosine distance, 0..2; at most this is the same person.
        far, frr: shares of pairs of two people accepted, and of one person refused, where it was calibrated.
        wanted: the false-accept rate that was asked for.
        positives, negatives: pairs of one person and of two.
    """

    distance: float
    far: float
    frr: float
    wanted: float
    positives: int
    negatives: int


class Manifest(StrictModel):
    """``gallery.json``.

    Attributes:
        format, version: of the files.
        model: hash of the network that made the vectors.
        dim: length D of a vector.
        weights: where the network was; empty when it was not said.
        kind: of the index.
        epoch: how often crops were taken out; within one, crops are only appended.
        next_name: of the next shard or index.
        next_place: number of the next crop; numbers are never given again.
        shards: in the order of their crops.
        index: of IVF and HNSW.
        threshold: of a calibration.
    """

    format: Literal["kd-yolo gallery"] = "kd-yolo gallery"
    version: int = VERSION
    model: str = Field(min_length=1, max_length=200)
    dim: int = Field(ge=1, le=1 << 20)
    weights: str = ""
    kind: Kind = "flat"
    epoch: int = Field(default=0, ge=0, lt=1 << 62)
    next_name: int = Field(default=0, ge=0, lt=10**12)
    next_place: int = Field(default=0, ge=0, lt=1 << 62)
    shards: tuple[Shard, ...] = ()
    index: SavedIndex | None = None
    threshold: Threshold | None = None

    @property
    def count(self) -> int:
        """How many crops there are."""
        return sum(shard.count for shard in self.shards)

    @property
    def new_name(self) -> str:
        """Name of the next shard or index."""
        return f"{self.next_name:06d}"


def file_of(folder: Path, kind: str, name: str) -> Path:
    """A file of a shard or an index."""
    return folder / kind / f"{name}{ENDINGS[kind]}"


def is_gallery(folder: Path) -> bool:
    """Whether a folder holds a gallery, whole or damaged."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Reads ``gallery.json``.

    Raises:
        InputError: it is missing, damaged or of a newer version.
    """
    file = folder / MANIFEST
    if not file.exists():
        raise InputError(
            f"{folder} is no gallery (it has no {MANIFEST}). Make one: kd-yolo search index CROPS --weights reid.pt"
            f" --gallery {folder}"
        )
    try:
        values = read_json_value(file, what="gallery")
    except InputError as error:
        raise damaged(file, f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise damaged(file, f"not JSON of a gallery but a {type(values).__name__}")
    version = values.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InputError(f"{file} has version {version}, this kd-yolo reads up to {VERSION}: update kd-yolo.")
    try:
        return Manifest.parse(values, str(file))
    except ConfigError as error:
        raise damaged(file, str(error)) from error


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Makes a state of the gallery the one that counts."""
    write_bytes(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    return manifest


def damaged(file: Path, why: str) -> InputError:
    """What a user is told about a file that cannot be used."""
    return InputError(
        f"{file} is damaged ({why}): copy it from a backup, or make the gallery again in another folder: kd-yolo search"
        " index CROPS --weights reid.pt --gallery NEW"
    )
