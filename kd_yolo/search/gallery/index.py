"""The vectors of a gallery in memory, searched by faiss: exactly, or by IVF or HNSW where speed counts more.

The exact index is filled by reading the shards straight into its memory, so that the vectors are there once. IVF and
HNSW are for galleries that are too large for that: they find most of the nearest, not all. Below ``SMALL`` crops
every gallery is searched exactly.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.base.extras import require
from kd_yolo.base.files import written_beside
from kd_yolo.base.reading import regular_file
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.files import INDEX, Manifest, SavedIndex, Shard, damaged, file_of
from kd_yolo.search.gallery.shards import check_files, read_blocks, read_into

Places = npt.NDArray[np.int64]
SMALL = 1000  # exact search of so few takes less than a millisecond
PER_CELL = 64  # crops to find a cell of IVF by; faiss wants 39 to 256
PROBED = 8  # one cell in so many is looked into
LINKS, WIDTH_BUILD, WIDTH_SEARCH = 32, 80, 128  # HNSW: M, efConstruction, efSearch
GROWN = 4  # cells are found again when there are so many times more crops


class SearchIndex:
    """Positions of crops, 0..N-1, by the inner product of unit vectors.

    Args:
        engine: a faiss index.
        trained: how many crops there were when the cells of an IVF were found.
    """

    def __init__(self, engine: Any, trained: int) -> None:
        self.engine = engine
        self.trained = trained

    def __len__(self) -> int:
        return int(self.engine.ntotal)

    def search(self, vectors_qd: Floats, top: int) -> tuple[Places, Floats]:
        """The nearest crops.

        Args:
            vectors_qd: unit rows.
            top: how many.

        Returns:
            Positions (Q,top), -1 where there are no more, and cosine distances (Q,top), infinite there.
        """
        near_qk, positions_qk = self.engine.search(vectors_qd, top)
        distances_qk = np.subtract(1, near_qk, out=near_qk)
        np.maximum(distances_qk, 0, out=distances_qk)
        distances_qk[positions_qk < 0] = np.inf
        return positions_qk, distances_qk

    def vectors(self, positions: Places) -> Floats:
        """The vectors (K,D) of crops."""
        return np.asarray(self.engine.reconstruct_batch(positions), np.float32)

    def extend(self, folder: Path, manifest: Manifest) -> None:
        """Reads the crops that were added since.

        Raises:
            InputError: a file is damaged.
        """
        if len(self) == manifest.count:
            return
        if type(self.engine).__name__ == "IndexFlatIP":
            _fill(self.engine, folder, manifest)
            return
        start = 0
        for shard in manifest.shards:
            skipped, start = max(len(self) - start, 0), start + shard.count
            for block_bd in read_blocks(folder, shard, manifest.dim) if skipped < shard.count else ():
                fresh_bd, skipped = block_bd[skipped:], max(skipped - len(block_bd), 0)
                if len(fresh_bd):
                    self.engine.add(fresh_bd)

    def save(self, folder: Path, name: str) -> SavedIndex:
        """Writes the index."""
        file = file_of(folder, INDEX, name)
        with written_beside(file) as part:
            require("faiss").write_index(self.engine, str(part))
        return SavedIndex(name=name, count=len(self), trained=self.trained, crc=_crc_of(file))


def is_exact(manifest: Manifest) -> bool:
    """Whether a gallery is searched exactly."""
    return manifest.kind == "flat" or manifest.count < SMALL


def open_index(folder: Path, manifest: Manifest) -> SearchIndex:
    """The index of a gallery: read where there is a good one, else made from the vectors.

    Raises:
        InputError: a file is damaged.
    """
    saved = manifest.index
    usable = saved is not None and not (manifest.kind == "ivf" and manifest.count > GROWN * saved.trained)
    index = _read(folder, saved, manifest.dim) if saved is not None and usable else _empty(folder, manifest)
    index.extend(folder, manifest)
    return index


def _empty(folder: Path, manifest: Manifest) -> SearchIndex:
    faiss, dim, count = require("faiss"), manifest.dim, manifest.count
    inner = faiss.METRIC_INNER_PRODUCT
    if is_exact(manifest):
        return SearchIndex(faiss.IndexFlatIP(dim), count)
    if manifest.kind == "hnsw":
        engine = faiss.IndexHNSWFlat(dim, LINKS, inner)
        engine.hnsw.efConstruction, engine.hnsw.efSearch = WIDTH_BUILD, WIDTH_SEARCH
        return SearchIndex(engine, count)
    cells = min(round(count**0.5), count // PER_CELL)
    engine = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, inner)
    engine.train(_sample(folder, manifest, cells * PER_CELL))
    engine.nprobe = max(1, cells // PROBED)
    engine.make_direct_map()  # for vectors()
    return SearchIndex(engine, count)


def _sample(folder: Path, manifest: Manifest, count: int) -> Floats:
    """Some vectors (count,D), spread evenly over the gallery."""
    wanted = np.linspace(0, manifest.count - 1, count).astype(np.int64)
    sample_nd, start = np.empty((count, manifest.dim), np.float32), 0
    for shard in manifest.shards:
        for block_bd in read_blocks(folder, shard, manifest.dim):
            low, high = np.searchsorted(wanted, (start, start + len(block_bd)))
            sample_nd[low:high] = block_bd[wanted[low:high] - start]
            start += len(block_bd)
    return sample_nd


def _fill(engine: Any, folder: Path, manifest: Manifest) -> None:
    """Makes room once for all vectors of an exact index and reads the missing ones into it."""
    known, start = int(engine.ntotal), 0
    check_files(folder, manifest)
    engine.codes.resize(manifest.count * manifest.dim * 4)
    pointer = require("faiss").rev_swig_ptr(engine.get_xb(), manifest.count * manifest.dim)
    all_nd = pointer.reshape(manifest.count, manifest.dim)
    for shard in manifest.shards:
        stop = start + shard.count
        if start >= known:
            read_into(folder, shard, all_nd[start:stop])
        elif stop > known:  # small shards were joined to one
            all_nd[known:stop] = _whole(folder, shard, manifest.dim)[known - start :]
        start = stop
    engine.ntotal = manifest.count


def _whole(folder: Path, shard: Shard, dim: int) -> Floats:
    vectors_nd = np.empty((shard.count, dim), np.float32)
    read_into(folder, shard, vectors_nd)
    return vectors_nd


def _read(folder: Path, saved: SavedIndex, dim: int) -> SearchIndex:
    file = file_of(folder, INDEX, saved.name)
    try:
        regular_file(file, "index")
        if _crc_of(file) != saved.crc:
            raise damaged(file, "it has changed")
        engine = require("faiss").read_index(str(file))
    except (OSError, RuntimeError, MemoryError) as error:
        raise damaged(file, (str(error) or type(error).__name__).splitlines()[0][:200]) from error
    if (int(engine.ntotal), int(engine.d)) != (saved.count, dim):
        raise damaged(file, f"{engine.ntotal} crops of {engine.d} values, expected {saved.count} of {dim}")
    return SearchIndex(engine, saved.trained)


def _crc_of(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc
