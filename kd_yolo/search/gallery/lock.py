"""One process writes to a gallery at a time; what a killed one left behind is swept away by the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_yolo.base.lock import locked
from kd_yolo.search.gallery.files import Manifest, read_manifest
from kd_yolo.search.gallery.shards import sweep_files, sweep_images

UNFINISHED = ".unfinished"


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
    sweep_images(folder, manifest)
