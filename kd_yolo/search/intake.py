"""Crops to put into a gallery: those of ``kd-yolo crops``, of a ReID set, or pictures in a folder."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from kd_yolo.base.extras import require
from kd_yolo.data.spec import IMAGE_SUFFIXES
from kd_yolo.errors import ConfigError, InputError
from kd_yolo.registry import nearest
from kd_yolo.reid.data.decode import read_rgb
from kd_yolo.reid.data.layouts import read_layout
from kd_yolo.reid.data.market import DISTRACTOR, JUNK, NAME
from kd_yolo.reid.data.sample import GALLERY, SUBSETS, list_pictures
from kd_yolo.search.crop_vectors import StoredVectors
from kd_yolo.search.gallery_rows import GIVEN, Row
from kd_yolo.search.records import NO_TRACK, Floats, Picture

TABLE = "crops.parquet"
QUALITY = 95
LARGEST_PX = 512  # of a side; no network looks at more, and a portion of photographs would fill the memory
_TURNED = 0x0112  # EXIF's orientation; from 5 on width and height change places
_JPEG_MODES = ("RGB", "L")


@dataclass(frozen=True)
class Source:
    """A crop that has not been read.

    Attributes:
        path: of the picture.
        row: its line, see :func:`kd_yolo.search.records.as_row`.
        vectors: those beside the crops of its folder, where there are any.
    """

    path: Path
    row: Row
    vectors: StoredVectors | None = None

    def vector(self, network: str) -> Floats | None:
        """What a network made of it (D,), where that is on disk.

        Args:
            network: hash of its file.
        """
        is_there = self.vectors is not None and self.vectors.network == network
        return self.vectors.find(str(self.row["file"])) if self.vectors is not None and is_there else None


@dataclass(frozen=True)
class Found:
    """The crops of a folder.

    Attributes:
        sources: the crops.
        what: what the folder was taken for.
        notes: what was passed over.
    """

    sources: list[Source]
    what: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """A crop that has been read.

    Attributes:
        row: its line.
        picture_hw3: RGB uint8.
        jpeg: the same as a file.
        source: what was read.
    """

    row: Row
    picture_hw3: Picture
    jpeg: bytes
    source: Source


def list_crops(folder: Path, subset: str | None = None) -> Found:
    """The crops of a folder.

    Args:
        folder: written by ``kd-yolo crops``, a ReID set in any layout, or pictures in folders.
        subset: ``train``, ``query`` or ``gallery`` of a ReID set; None is the gallery, else all there is.

    Raises:
        InputError: no such folder, no crops in it, or a damaged table.
        ConfigError: a subset that the folder does not have.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: name one that kd-yolo crops wrote, a ReID set, or a folder of pictures.")
    is_tabled = (folder / TABLE).is_file()
    found = None if is_tabled else _reid(folder, subset)
    if found is None and subset is not None:
        raise ConfigError(f"--subset {subset}: {folder} is no ReID set with {', '.join(SUBSETS)}. Leave --subset out.")
    if is_tabled:
        return Found(_tabled(folder), f"crops of {TABLE}")  # none are no error: there was nobody in the video
    found = found or Found(_plain(folder), "pictures")
    if not found.sources:
        raise InputError(f"{folder} has no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}) and no {TABLE}.")
    return found


def _tabled(folder: Path) -> list[Source]:
    """What ``kd-yolo crops`` wrote down."""
    file = folder / TABLE
    try:
        table = require("polars").read_parquet(file)
        columns = [*GIVEN, "file", *(["identity"] if "identity" in table.columns else [])]
        lines: list[Row] = table.select(columns).to_dicts()
    except Exception as error:  # polars has a dozen kinds
        raise InputError(f"{file} is damaged ({str(error).splitlines()[0]}): run kd-yolo crops again.") from error
    root = folder.resolve()
    vectors = StoredVectors.open(folder)
    found = [Source(folder / str(line["file"]), line, vectors) for line in lines]
    outside = next((one.path for one in found if not one.path.resolve().is_relative_to(root)), None)
    if outside is not None:
        raise InputError(f"{file} names {outside}, which is not in its folder: it is not read.")
    return found


def _reid(folder: Path, subset: str | None) -> Found | None:
    """The crops of a ReID set; None where the folder has no such layout."""
    try:
        listing = read_layout(folder)
    except InputError:
        return None
    subsets = listing.subsets
    if listing.layout == "identity folders" and list_pictures(folder):  # folders in an album are nobody's names
        return None
    if subset is not None and subset not in subsets:
        raise ConfigError(f"{folder} has no subset '{subset}'.{nearest(subset, subsets)} It has {', '.join(subsets)}.")
    chosen = [subset] if subset is not None else [GALLERY] if GALLERY in subsets else list(subsets)
    sources = [
        Source(sample.path, _row(sample.path, _name(sample.identity, listing.names), sample.camera))
        for name in chosen
        for sample in subsets[name]
    ]
    return Found(sources, f"{' and '.join(chosen)} set ({listing.layout})", listing.notes)


def _name(identity: int, names: dict[int, str]) -> str | None:
    if names:
        return names[identity]
    return None if identity in (JUNK, DISTRACTOR) else str(identity)


def _plain(folder: Path) -> list[Source]:
    """Pictures, also in sub-folders; names as 0002_c1s1_000451_03.jpg tell identity and camera."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    found = []
    for path in files:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        named = NAME.match(path.name)
        identity = _whole(named.group(1)) if named else None
        found.append(Source(path, _row(path, identity, int(named.group(2)) if named else 0)))
    return found


def _whole(text: str) -> str | None:
    try:
        return _name(int(text), {})
    except ValueError:
        return None


def _row(path: Path, identity: str | None, camera: int) -> Row:
    """The line of a picture that is a crop as a whole; its size stays 0 where it cannot be read."""
    width, height = _size_of(path)
    return {
        "file": path.name, "source": str(path.absolute()), "frame": 0, "seconds": None, "camera": camera,
        "track": NO_TRACK, "x1": 0, "y1": 0, "x2": width, "y2": height, "score": 1.0, "identity": identity,
    }  # fmt: skip


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture, upright, from its header."""
    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(_TURNED, 1) >= 5
            return picture.size[::-1] if turned else picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, ImportError):
        return 0, 0


def load_crop(source: Source) -> Loaded:
    """Reads a crop; a JPEG is kept as it is where it stands upright and is not large.

    Raises:
        InputError: it does not decode.
    """
    picture = read_rgb(source.path)
    jpeg = _as_is(source.path) if max(picture.size) <= LARGEST_PX else None
    picture.thumbnail((LARGEST_PX, LARGEST_PX))
    return Loaded(source.row, np.asarray(picture, np.uint8), jpeg or _encode(picture), source)


def read_crop(path: Path) -> Picture:
    """A picture as :func:`load_crop` gives it, RGB.

    Raises:
        InputError: it does not decode.
    """
    return load_crop(Source(path, {})).picture_hw3


def _as_is(path: Path) -> bytes | None:
    with Image.open(path) as header:
        plain = header.format == "JPEG" and header.mode in _JPEG_MODES and not header.getexif()
    return path.read_bytes() if plain else None


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def load_all(sources: Sequence[Source], skipped: list[str]) -> Iterator[Loaded]:
    """Reads crops one after the other; those that do not decode are written down in ``skipped``."""
    for source in sources:
        try:
            yield load_crop(source)
        except InputError as error:
            skipped.append(str(error))
