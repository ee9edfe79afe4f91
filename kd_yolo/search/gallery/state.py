"""What an open gallery holds in memory: rows, keys, and the index once something was asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.base.reading import first_few
from kd_yolo.search.gallery.files import MANIFEST, Manifest
from kd_yolo.search.gallery.index import Places, SearchIndex
from kd_yolo.search.gallery.rows import Row, as_table
from kd_yolo.search.gallery.shards import image_name, read_rows


class GalleryState:
    """Follows ``gallery.json``; who calls it holds the gallery's lock.

    A *position* is where a crop stands, 0..N-1, and changes when others are taken out; its *place* is its number for
    ever.

    Args:
        folder: of the gallery.
        manifest: what counts now.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self._clear(manifest)
        self.follow(manifest)

    def __len__(self) -> int:
        return len(self.places)

    def _clear(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.table = as_table([], 0)
        self.places: Places = np.empty(0, np.int64)
        self._keys: set[str] | None = None
        self.index: SearchIndex | None = None
        self._stamp: tuple[int, int] | None = None

    @property
    def keys(self) -> set[str]:
        """The keys of all crops; made when something is to be added."""
        if self._keys is None:
            self._keys = set(self.table["key"])
        return self._keys

    def is_stale(self) -> bool:
        """Whether ``gallery.json`` is another one by now."""
        return self._stamp is None or self._stamp != _stamp_of(self.folder)

    def follow(self, manifest: Manifest) -> None:
        """Takes over a state of the folder: reads what was appended, or all where crops were taken out.

        Raises:
            InputError: a file is damaged.
        """
        if (manifest.epoch, manifest.model) != (self.manifest.epoch, self.manifest.model):
            self._clear(manifest)
        self._stamp = None  # stale, should a file be damaged
        self._read_rows(manifest)
        self.manifest = manifest
        if self.index is not None:
            index, self.index = self.index, None
            index.extend(self.folder, manifest)
            self.index = index
        self._stamp = _stamp_of(self.folder)

    def _read_rows(self, manifest: Manifest) -> None:
        known, stop, tables = len(self), 0, [self.table]
        for shard in manifest.shards:
            start, stop = stop, stop + shard.count
            if stop > known:
                tables.append(read_rows(self.folder, shard)[max(known - start, 0) :])
                if self._keys is not None:
                    self._keys.update(tables[-1]["key"])
        if len(tables) > 1:
            self.table = require("polars").concat(tables)
            self.places = self.table["place"].to_numpy()

    def places_of(self, positions_qk: Places) -> Places:
        """Places at these positions; -1 stays."""
        if not len(self):
            return positions_qk
        return np.where(positions_qk < 0, -1, self.places[positions_qk])

    def positions(self, places: Sequence[int] | Places) -> Places:
        """Positions of these places.

        Raises:
            InputError: there is no such crop, or it was taken out.
        """
        wanted = np.asarray(places, np.int64).reshape(-1)
        found = np.searchsorted(self.places, wanted).astype(np.int64)
        known = found < len(self)
        known[known] = self.places[found[known]] == wanted[known]
        if not known.all():
            gone = first_few(wanted[~known])
            raise InputError(f"{self.folder} has no crop {gone} (any more): ask again, `kd-yolo search query`.")
        return found

    def rows(self, positions: Places) -> list[Row]:
        """The lines at these positions, with ``file``, the image from the gallery's folder."""
        lines: list[Row] = self.table[positions].to_dicts()
        return [{"file": image_name(line.pop("key")), **line} for line in lines]


def _stamp_of(folder: Path) -> tuple[int, int] | None:
    """Tells one ``gallery.json`` from the next."""
    try:
        stat = (folder / MANIFEST).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
