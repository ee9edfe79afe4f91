"""One process writes to a gallery at a time; what a killed one left behind is swept away by the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.lock import LOCK, acquire
from kd_yolo.base.reading import regular_file
from kd_yolo.search.gallery.files import Manifest, read_manifest
from kd_yolo.search.gallery.shards import sweep_files, sweep_pictures

__all__ = ["LOCK", "locked", "writing"]
UNFINISHED = ".unfinished"
WAIT_S = 3600.0


@contextmanager
def locked(folder: Path, *, exclusive: bool, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the lock of a gallery; the system frees it when the process ends, however it ends.

    Args:
        folder: of the gallery.
        exclusive: to write; readers share it.
        wait_s: how long to wait for another process.

    Raises:
        KDYoloError: another process did not let go of it.
    """
    file = folder / LOCK
    if not exclusive and not file.exists():  # a copy of a gallery, perhaps where nothing can be written
        yield
        return
    if file.exists():
        regular_file(file, "lock")
    handle = os.open(file, os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY, 0o644)
    try:
        if not acquire(handle, exclusive=exclusive, wait_s=wait_s):
            raise KDYoloError(f"another process has been writing to {folder} for {wait_s:g} s: wait for it or end it.")
        yield
    finally:
        os.close(handle)


@contextmanager
def writing(folder: Path) -> Iterator[Manifest]:
    """Holds the lock to write, sweeps up before and after, and gives the state that counts.

    Raises:
        InputError: no gallery, or a damaged one.
        KDYoloError: another process did not let go of it.
    """
    read_manifest(folder)  # nothing is written into a folder that is no gallery
    marker = folder / UNFINISHED
    with locked(folder, exclusive=True):
        manifest = read_manifest(folder)
        if marker.exists():
            _sweep(folder, manifest)
        marker.touch()
        try:
            yield manifest
        except BaseException:
            _sweep(folder, read_manifest(folder))
            marker.unlink(missing_ok=True)
            raise
        sweep_files(folder, read_manifest(folder))
        marker.unlink(missing_ok=True)


def _sweep(folder: Path, manifest: Manifest) -> None:
    sweep_files(folder, manifest)
    sweep_pictures(folder, manifest)
