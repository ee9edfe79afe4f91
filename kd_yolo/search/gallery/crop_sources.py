"""Crops to put into a gallery: those of ``kd-yolo crops``, of a ReID set, or images in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.registry import nearest
from kd_yolo.data.market_name import DISTRACTOR, JUNK, parse_market_name
from kd_yolo.reid.data.layouts import read_layout
from kd_yolo.reid.data.sample import GALLERY, SUBSETS, images_in
from kd_yolo.search.frames.crop_files import jpeg_of, read_crop, size_of
from kd_yolo.search.frames.crop_vectors import StoredVectors
from kd_yolo.search.frames.frame_types import NO_TRACK, Floats, ImageHW3
from kd_yolo.search.frames.listing import CROPS, PassedFiles, list_folder
from kd_yolo.search.frames.tables import read_table
from kd_yolo.search.gallery.rows import GIVEN, Row, as_record

TABLE, IMAGES = "crops.parquet", "crops"
_MAX_CAMERA = 999_999_999  # a table's column holds 64 bits


@dataclass(frozen=True)
class CropSource:
    """A crop that has not been read.

    Attributes:
        path: of the image.
        row: its line, see :func:`kd_yolo.search.frames.frame_types.as_row`.
        vectors: those beside the crops of its folder, where there are any.
    """

    path: Path
    row: Row
    vectors: StoredVectors | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the crop is a whole image, and not cut out of one."""
        row = self.row
        return row["source"] == str(self.path.absolute()) and is_whole_image(row)

    def vector(self, network: str) -> Floats | None:
        """What a network made of it (D,), where that is on disk.

        Args:
            network: hash of its file.
        """
        is_there = self.vectors is not None and self.vectors.network == network
        return self.vectors.find(str(self.row["file"])) if self.vectors is not None and is_there else None


@dataclass(frozen=True)
class CropListing:
    """The crops of a folder.

    Attributes:
        sources: the crops.
        what: what the folder was taken for.
        notes: what was passed over.
    """

    sources: list[CropSource]
    what: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedCrop:
    """A crop that has been read.

    Attributes:
        row: its line.
        image_hw3: RGB uint8.
        jpeg: the same as a file.
        source: what was read.
    """

    row: Row
    image_hw3: ImageHW3
    jpeg: bytes
    source: CropSource


def is_whole_image(row: Mapping[str, Any]) -> bool:
    """Whether a row is that of a whole image."""
    return (row["x1"], row["y1"], row["frame"], row["track"], row["score"]) == (0, 0, 0, NO_TRACK, 1.0)


def list_crops(folder: Path, subset: str | None = None) -> CropListing:
    """The crops of a folder.

    Args:
        folder: written by ``kd-yolo crops`` or ``kd-yolo search track``, a ReID set in any layout, or images in
            folders. Crops of tracks keep source, camera, time and track; who they show is not said by a track's number.
        subset: ``train``, ``query`` or ``gallery`` of a ReID set; None is the gallery, else all there is.

    Raises:
        InputError: no such folder, no crops in it, or a damaged table.
        ConfigError: a subset that the folder does not have.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: name one that kd-yolo crops wrote, a ReID set, or a folder of images.")
    table_folders = folders_with_table(folder)
    # With tables no names of files are taken for a ReID set's: those of crops say tracks, not people.
    listing = (
        _list_reid_set(folder, subset)
        if not table_folders or (subset is not None and _is_below(folder, table_folders))
        else None
    )
    if listing is None and subset is not None:
        raise ConfigError(f"--subset {subset}: {folder} is no ReID set with {', '.join(SUBSETS)}. Leave --subset out.")
    if listing is None:
        listing = _list_tables_and_images(folder, table_folders)
    if not listing.sources and not table_folders:  # with a table none are no error: there was nobody in the video
        raise InputError(f"{folder} has no images ({', '.join(sorted(CROPS))}) and no {TABLE}.")
    return listing


def folders_with_table(folder: Path) -> list[Path]:
    """The folders that ``kd-yolo crops`` and ``search track`` wrote: the folder, the one it is part of, or below it."""
    if (folder / TABLE).is_file():
        return [folder]
    above = folder.absolute().parent
    if folder.absolute().name == IMAGES and (above / TABLE).is_file():
        return [above]
    return [file.parent for file in list_folder(folder, {".parquet"}) if file.name == TABLE]


def _is_below(folder: Path, table_folders: Sequence[Path]) -> bool:
    return all(table_folder != folder and folder in table_folder.parents for table_folder in table_folders)


def _is_in(path: Path, folders: Sequence[Path]) -> bool:
    return any(folder in path.parents for folder in folders)


def _list_tables_and_images(folder: Path, table_folders: Sequence[Path]) -> CropListing:
    """Crops by their tables, and the images that no table is about."""
    passed = PassedFiles()
    sources = [source for table_folder in table_folders for source in _read_crops_table(table_folder)]
    notes = []
    if any(source.row["track"] != NO_TRACK and source.row.get("identity") is None for source in sources):
        notes.append("crops of tracks: they keep camera, time and track; a track's number is nobody's identity")
    if not table_folders or _is_below(folder, table_folders):
        files = [path for path in list_folder(folder, CROPS, passed) if not _is_in(path, table_folders)]
        sources += [_image_source(path) for path in files]
    line = passed.line(folder)
    if line is not None and not table_folders:
        notes.append(line)
    names = f"{len(table_folders)} {TABLE}" if len(table_folders) > 1 else TABLE
    return CropListing(sources, f"crops of {names}" if table_folders else "images", tuple(notes))


def _read_crops_table(folder: Path) -> list[CropSource]:
    """What ``kd-yolo crops`` wrote down."""
    file = folder / TABLE
    try:
        table = read_table(file)
        columns = [*GIVEN, "file", *(["identity"] if "identity" in table.columns else [])]
        missing = [name for name in columns if name not in table.columns]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        lines: list[Row] = table.select(columns).to_dicts()
        for line in lines:
            as_record(line)
        root = folder.resolve()
        paths = [folder / str(line["file"]) for line in lines]
        outside = next((path for path in paths if not path.resolve().is_relative_to(root)), None)
    except (InputError, ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{file} is damaged ({error}): run kd-yolo crops again.") from error
    if outside is not None:
        raise InputError(f"{file} names {outside}, which is not in its folder: it is not read.")
    vectors = StoredVectors.open(folder)
    return [CropSource(path, line, vectors) for path, line in zip(paths, lines, strict=True)]


def _list_reid_set(folder: Path, subset: str | None) -> CropListing | None:
    """The crops of a ReID set; None where the folder has no such layout."""
    try:
        listing = read_layout(folder)
    except InputError:
        return None
    subsets = listing.subsets
    if listing.layout == "identity folders" and images_in(folder):  # folders in an album are nobody's names
        return None
    if subset is not None and subset not in subsets:
        raise ConfigError(f"{folder} has no subset '{subset}'.{nearest(subset, subsets)} It has {', '.join(subsets)}.")
    chosen = [subset] if subset is not None else [GALLERY] if GALLERY in subsets else list(subsets)
    sources = [
        CropSource(
            sample.path, _whole_image_row(sample.path, _identity_name(sample.identity, listing.names), sample.camera)
        )
        for name in chosen
        for sample in subsets[name]
    ]
    return CropListing(sources, f"{' and '.join(chosen)} set ({listing.layout})", listing.notes)


def _identity_name(identity: int, names: dict[int, str]) -> str | None:
    if names:
        return names[identity]
    return None if identity in (JUNK, DISTRACTOR) else str(identity)


def _image_source(path: Path) -> CropSource:
    """An image of one person; names as 0002_c1s1_000451_03.jpg tell identity and camera."""
    said = parse_market_name(path.name)
    if said is None:
        return CropSource(path, _whole_image_row(path, None, 0))
    identity = None if said.identity is None else _identity_name(said.identity, {})
    return CropSource(path, _whole_image_row(path, identity, min(said.camera, _MAX_CAMERA)))


def _whole_image_row(path: Path, identity: str | None, camera: int) -> Row:
    """The line of an image that is a crop as a whole; its size stays 0 where it cannot be read."""
    width, height = size_of(path)
    return {
        "file": path.name, "source": str(path.absolute()), "frame": 0, "seconds": None, "camera": camera,
        "track": NO_TRACK, "x1": 0, "y1": 0, "x2": width, "y2": height, "score": 1.0, "identity": identity,
    }  # fmt: skip


def load_crop(source: CropSource) -> LoadedCrop:
    """Reads a crop, see :func:`read_crop` and :func:`jpeg_of`.

    Raises:
        InputError: it does not decode.
    """
    image_hw3 = read_crop(source.path)
    return LoadedCrop(source.row, image_hw3, jpeg_of(source.path, image_hw3), source)


def load_all(sources: Sequence[CropSource], skipped: list[str]) -> Iterator[LoadedCrop]:
    """Reads crops one after the other; those that do not decode are written down in ``skipped``."""
    for source in sources:
        try:
            yield load_crop(source)
        except InputError as error:
            skipped.append(str(error))
