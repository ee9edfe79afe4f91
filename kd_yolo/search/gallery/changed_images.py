"""Images that have changed under their names since they were indexed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.search.gallery.crop_sources import CropSource, is_whole_image, load_crop
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.rows import key_of
from kd_yolo.search.gallery.shards import image_name


@dataclass
class ChangedImages:
    """What is no longer as the gallery has it.

    Attributes:
        names: of the images.
        places: of their crops in the gallery.
    """

    names: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


def find_changed(gallery: Gallery, sources: Sequence[CropSource]) -> ChangedImages:
    """Crops whose images have other content now, and those of whole images that have another size now.

    The content is compared where the file is not older than the gallery's own image, which is a copy of it. An image
    that cannot be read any more keeps its crop.

    Args:
        gallery: that knows some of them.
        sources: what is to be indexed.
    """
    table, found = gallery.table(), ChangedImages()
    columns = ("key", "place", "source", "x1", "y1", "frame", "track", "score")
    place_of: dict[str, int] = {}
    of_whole: dict[str, list[str]] = {}
    for row in table.select(columns).iter_rows(named=True):
        place_of[row["key"]] = row["place"]
        if is_whole_image(row):
            of_whole.setdefault(row["source"], []).append(row["key"])
    for source in sources:
        key = key_of(source.row)
        old = [other for other in of_whole.get(source.row["source"], ()) if other != key] if source.is_whole else []
        if key in place_of and _differs(source, gallery.folder / image_name(key)):
            old.append(key)
        if old and _can_be_read(source):
            found.names.append(str(source.path))
            found.places += [place_of[one] for one in old]
    return found


def _can_be_read(source: CropSource) -> bool:
    try:
        load_crop(source)
    except InputError:
        return False
    return True


def _differs(source: CropSource, stored: Path) -> bool:
    """Whether an image is another one than the gallery's; one that is the same is not looked at again."""
    try:
        stat, known = source.path.stat(), stored.stat()
        if max(stat.st_mtime_ns, stat.st_ctime_ns) < known.st_mtime_ns:  # a copy that keeps its time changes the ctime
            return False
        if load_crop(source).jpeg != stored.read_bytes():
            return True
    except (OSError, InputError):
        return False
    with contextlib.suppress(OSError):
        os.utime(stored)
    return False
