"""What a teacher said of fixed views, on disk: written by any number of processes, whole after a kill.

A cache is a folder: ``cache.json`` says what it belongs to, and each shard is a folder of arrays that is written beside
and renamed. Shards are never changed; a view that two processes stored at once is there twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_json
from kd_yolo.base.folders import folder_beside
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.reading import read_json_value
from kd_yolo.distill.teachers.responses import Responses

MANIFEST = "cache.json"
FLUSH_BYTES = 64 << 20
_ARRAYS = {"views": np.int64, "counts": np.int64, "anchors": np.int32, "values": np.float16}
Shard = Mapping[str, NDArray[Any]]


class TeacherCache:
    """Responses by the number of their view.

    Args:
        folder: where they are, or will be.
        belongs_to: what they depend on, in named parts.
        num_views: view numbers end here.
        max_bytes: beyond it nothing is added.

    Raises:
        ConfigError: the folder holds responses that belong to something else.
    """

    def __init__(self, folder: Path, belongs_to: Mapping[str, Any], *, num_views: int, max_bytes: float) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.is_full = False
        self._where = np.full((num_views, 3), -1, np.int64)  # shard, first row, rows
        self._shards: list[Shard] = []
        self._known: set[str] = set()
        self._new: dict[int, Responses] = {}
        self._bytes = self._new_bytes = 0
        _settle_manifest(folder, belongs_to)
        remove_leftovers(folder)
        self.refresh()

    def __len__(self) -> int:
        """How many views are there."""
        return int((self._where[:, 0] >= 0).sum()) + len(self._new)

    def __contains__(self, view: int) -> bool:
        return view in self._new or bool(self._where[view, 0] >= 0)

    def __getitem__(self, view: int) -> Responses:
        if view in self._new:
            return self._new[view]
        shard, first, count = self._where[view].tolist()
        rows = slice(first, first + count)
        return Responses(self._shards[shard]["anchors"][rows], self._shards[shard]["values"][rows])

    @property
    def num_bytes(self) -> int:
        """Bytes of all responses, on disk and about to be written."""
        return self._bytes + self._new_bytes

    def add(self, view: int, responses: Responses) -> None:
        """Keeps the responses of a view, if there is room."""
        if self.num_bytes + responses.nbytes > self.max_bytes:
            self.is_full = True
            return
        self._new[view] = responses
        self._new_bytes += responses.nbytes
        if self._new_bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is new as a shard.

        Raises:
            KDYoloError: the disk is full or not writable.
        """
        if not self._new:
            return
        responses = list(self._new.values())
        arrays = {
            "views": np.array(list(self._new)),
            "counts": np.array([len(r.anchors) for r in responses]),
            "anchors": np.concatenate([r.anchors for r in responses]),
            "values": np.concatenate([r.values for r in responses]),
        }
        with folder_beside(self.folder / f"shard-{time.time_ns()}-{os.getpid()}") as part:
            for name, dtype in _ARRAYS.items():
                np.save(part / f"{name}.npy", arrays[name].astype(dtype, copy=False))
        self._new, self._new_bytes = {}, 0
        self.refresh()

    def refresh(self) -> None:
        """Looks for shards that this or another process has written since."""
        for folder in sorted(self.folder.glob("shard-*")):
            if folder.name not in self._known:
                self._take(folder)

    def _take(self, folder: Path) -> None:
        shard = _read_shard(folder)
        views, counts = shard["views"], shard["counts"]
        rows = np.stack([np.full_like(views, len(self._shards)), counts.cumsum() - counts, counts], 1)
        is_known = views < len(self._where)  # a run with fewer views has no use for the others
        self._where[views[is_known]] = rows[is_known]
        self._shards.append(shard)
        self._known.add(folder.name)
        self._bytes += shard["anchors"].nbytes + shard["values"].nbytes


def _read_shard(folder: Path) -> Shard:
    """The arrays of a shard; what is large stays on disk until it is asked for."""
    try:
        shard = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        shard |= {name: np.array(shard[name]) for name in ("views", "counts")}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{folder} cannot be read ({error}): remove it, what is missing is made again.") from None
    views, counts = shard["views"], shard["counts"]
    is_whole = all(shard[name].dtype == dtype for name, dtype in _ARRAYS.items()) and views.shape == counts.shape
    if (
        not is_whole
        or min(views.min(), counts.min()) < 0
        or {len(shard[k]) for k in ("anchors", "values")} != {counts.sum()}
    ):
        raise InputError(f"{folder} is damaged: remove it, what is missing is made again.")
    return shard


def _settle_manifest(folder: Path, belongs_to: Mapping[str, Any]) -> None:
    """Notes in a new folder what it belongs to; refuses one that belongs to something else."""
    file = folder / MANIFEST
    if not file.exists():
        write_json(file, belongs_to)
        return
    found = read_json_value(file)
    if found == json.loads(json.dumps(belongs_to)):
        return
    other = [key for key in belongs_to if not isinstance(found, dict) or found.get(key) != belongs_to[key]]
    raise ConfigError(
        f"the teacher cache {folder} belongs to another {', '.join(other) or 'program'}: name another folder with"
        " --teacher-cache-dir, or leave it out to get one by what it belongs to."
    )
