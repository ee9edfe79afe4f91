"""Shards: vectors and rows of crops that were added together, written once and then only read or replaced."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import IO, Any

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.base.files import write_bytes, written_beside
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.reading import read_bytes, regular_file
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.frames.tables import MAX_BYTES
from kd_yolo.search.gallery.files import (
    ENDINGS,
    IMAGES,
    INDEX,
    MANIFEST,
    ROWS,
    VECTORS,
    Manifest,
    Shard,
    damaged,
    file_of,
)  # fmt: skip
from kd_yolo.search.gallery.rows import from_bytes, to_bytes

BLOCK = 4096  # rows; 8 MB of 512 values
MAX_SMALL = 32  # shards of less than a block


def write_shard(folder: Path, name: str, blocks: Iterable[Floats], table: Any, dim: int) -> Shard:
    """Writes vectors and rows under new names; nobody sees them until the manifest names them.

    Args:
        folder: of the gallery.
        name: of the shard.
        blocks: the vectors, unit rows, in blocks (B,D).
        table: their rows.
        dim: D.
    """
    crc = _write_vectors(file_of(folder, VECTORS, name), blocks, (len(table), dim))
    data = to_bytes(table)
    write_bytes(file_of(folder, ROWS, name), data)
    return Shard(name=name, count=len(table), vectors_crc=crc, rows_crc=zlib.crc32(data))


def append(folder: Path, manifest: Manifest, blocks: Iterable[Floats], table: Any) -> Manifest:
    """Writes a shard more; where many small ones have gathered at the end, they become part of it.

    Returns:
        The manifest with it, not yet written.
    """
    joined = _small_tail(manifest.shards)
    if len(joined) < MAX_SMALL:
        joined = ()
    tables = [*(read_rows(folder, shard) for shard in joined), table]
    old = (read_blocks(folder, shard, manifest.dim) for shard in joined)
    every = chain(chain.from_iterable(old), blocks)
    shard = write_shard(folder, manifest.new_name, every, require("polars").concat(tables), manifest.dim)
    update = {
        "shards": (*manifest.shards[: len(manifest.shards) - len(joined)], shard),
        "next_name": manifest.next_name + 1,
        "next_place": manifest.next_place + len(table),
    }
    return manifest.model_copy(update=update)


def _small_tail(shards: Sequence[Shard]) -> Sequence[Shard]:
    small = list(takewhile(lambda shard: shard.count < BLOCK, reversed(shards)))
    return shards[len(shards) - len(small) :]


def _write_vectors(file: Path, blocks: Iterable[Floats], shape: tuple[int, int]) -> int:
    """Writes an .npy block after block and returns the CRC-32 of its values."""
    crc, count = 0, 0
    with written_beside(file) as part, part.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for block_bd in blocks:
            values = np.ascontiguousarray(block_bd, "<f4").data
            stream.write(values)
            crc, count = zlib.crc32(values, crc), count + len(block_bd)
        assert count == shape[0], "as many vectors as rows"
    return crc


def read_into(folder: Path, shard: Shard, out_nd: Floats) -> None:
    """Reads the vectors of a shard to where they are wanted; there is no second copy.

    Args:
        folder: of the gallery.
        shard: which.
        out_nd: filled, C-contiguous (N,D).

    Raises:
        InputError: the file is missing or damaged.
    """
    file = file_of(folder, VECTORS, shard.name)
    with _open_vectors(file, out_nd.shape) as stream:
        values = out_nd.reshape(-1).view(np.uint8).data
        if stream.readinto(values) != values.nbytes:  # type: ignore[attr-defined]
            raise damaged(file, "cut off")
        if zlib.crc32(values) != shard.vectors_crc:
            raise damaged(file, "its values have changed")


def read_blocks(folder: Path, shard: Shard, dim: int) -> Iterator[Floats]:
    """The vectors of a shard in blocks (B,D); the next block overwrites the last.

    Raises:
        InputError: the file is missing or damaged; a change shows after the last block.
    """
    file, crc = file_of(folder, VECTORS, shard.name), 0
    with _open_vectors(file, (shard.count, dim)) as stream:
        buffer_bd = np.empty((min(BLOCK, shard.count), dim), np.float32)
        for start in range(0, shard.count, BLOCK):
            block_bd = buffer_bd[: shard.count - start]
            values = block_bd.reshape(-1).view(np.uint8).data
            if stream.readinto(values) != values.nbytes:  # type: ignore[attr-defined]
                raise damaged(file, "cut off")
            crc = zlib.crc32(values, crc)
            yield block_bd
    if crc != shard.vectors_crc:
        raise damaged(file, "its values have changed")


def check_files(folder: Path, manifest: Manifest) -> None:
    """Checks the sizes of all files of vectors, before room is made for what a manifest only claims.

    Raises:
        InputError: a file is missing or too small.
    """
    for shard in manifest.shards:
        _open_vectors(file_of(folder, VECTORS, shard.name), (shard.count, manifest.dim)).close()


def _open_vectors(file: Path, shape: tuple[int, ...]) -> IO[bytes]:
    """The file, read up to its values."""
    try:
        least = int(np.prod([float(side) for side in shape]) * 4)
        size = regular_file(file, "file of vectors").stat().st_size
        if size < least:  # before room is made for them
            raise InputError(f"cut off: {size:,} bytes, expected {least:,} and a header")
        stream = file.open("rb")
    except InputError as error:
        raise damaged(file, str(error)) from error
    except OSError as error:
        raise damaged(file, error.strerror or str(error)) from error
    try:
        np.lib.format.read_magic(stream)
        found = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        stream.close()
        raise damaged(file, str(error)) from error
    if found != (shape, False, np.dtype("<f4")):
        stream.close()
        raise damaged(file, f"holds {found[2]} of shape {found[0]}, expected float32 {shape}")
    return stream


def read_rows(folder: Path, shard: Shard) -> Any:
    """The rows of a shard as a polars table.

    Raises:
        InputError: the file is missing or damaged.
    """
    file = file_of(folder, ROWS, shard.name)
    try:
        data = read_bytes(file, limit=MAX_BYTES, what="file of rows")
        if zlib.crc32(data) != shard.rows_crc:
            raise ValueError("it has changed")
        table = from_bytes(data)
        if len(table) != shard.count:
            raise ValueError(f"{len(table)} rows, expected {shard.count}")
    except (InputError, OSError, ValueError) as error:
        raise damaged(file, str(error)) from error
    return table


def image_name(key: str) -> str:
    """Where the image of a key is, from the gallery's folder."""
    return f"{IMAGES}/{key[:2]}/{key}.jpg"


def sweep_files(folder: Path, manifest: Manifest) -> None:
    """Removes files of shards and indices that do not count (any more)."""
    shards = {shard.name for shard in manifest.shards}
    index = set() if manifest.index is None else {manifest.index.name}
    for kind, names in ((VECTORS, shards), (ROWS, shards), (INDEX, index)):
        for file in (folder / kind).glob("*"):
            if file.name not in {f"{name}{ENDINGS[kind]}" for name in names}:
                file.unlink(missing_ok=True)
    remove_leftovers(folder, of=MANIFEST, is_locked=True)


def sweep_images(folder: Path, manifest: Manifest) -> None:
    """Removes images that no row has (any more)."""
    kept = {key for shard in manifest.shards for key in read_rows(folder, shard)["key"]}
    for file in (folder / IMAGES).glob("*/*"):
        if file.name.removesuffix(".jpg") not in kept:
            file.unlink(missing_ok=True)
