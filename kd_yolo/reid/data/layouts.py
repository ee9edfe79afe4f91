"""Which layout a folder has, and the crops of each subset in it.

Known are Market-1501 (DukeMTMC and the flat release of MSMT17 look the same), MSMT17 with list files, ``train query
gallery`` with Market's names or with a folder an identity, and one folder of identity folders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown
from kd_yolo.reid.data.identity_folders import has_identity_folders, read_identity_folders
from kd_yolo.reid.data.market import read_market
from kd_yolo.reid.data.msmt17 import LISTS, has_lists, read_msmt17
from kd_yolo.reid.data.sample import GALLERY, QUERY, TRAIN, Listing, Sample, first_names

__all__ = ["GALLERY", "QUERY", "TRAIN", "Listing", "Sample", "read_layout"]
BOXES = {TRAIN: "bounding_box_train", QUERY: "query", GALLERY: "bounding_box_test"}
PLAIN = {TRAIN: "train", QUERY: "query", GALLERY: "gallery"}
_LOOKED_FOR = (
    ("Market-1501, DukeMTMC", f"{'/ '.join(BOXES.values())}/ with names as 0002_c1s1_000451_03.jpg"),
    ("MSMT17", f"{' '.join(LISTS)} beside train/ test/ or mask_train_v2/ mask_test_v2/"),
    ("split folders", f"{'/ '.join(PLAIN.values())}/ with such names, or with a folder of images an identity"),
    ("identity folders", "<identity>/<image>.jpg"),
)


def read_layout(folder: Path) -> Listing:
    """Finds out the layout of a folder and reads it.

    Args:
        folder: with the subsets; train alone, or query and gallery alone, are enough.

    Raises:
        InputError: there is no such folder or no known layout in it; a subset has no crops.
    """
    try:
        listing = _read(folder)
    except (OSError, ValueError) as error:  # a name that is too long or holds a NUL, a folder that may not be read
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"ReID folder {shown(str(folder), 300)} cannot be read: {reason}.") from None
    for subset, samples in listing.subsets.items():
        if not samples:
            raise InputError(_empty(folder, subset, listing))
    return listing


def _read(folder: Path) -> Listing:
    if not folder.is_dir():
        raise InputError(
            f"no ReID folder {shown(str(folder), 300)}. Name a folder with {' '.join(BOXES.values())}, or make one:"
            " kd-yolo data make reid"
        )
    reader = _reader_of(folder)
    if reader is None:
        raise InputError(_nothing_found(folder))
    return reader(folder)


def _reader_of(folder: Path) -> Callable[[Path], Listing] | None:
    if has_lists(folder):
        return read_msmt17
    if (folder / BOXES[TRAIN]).is_dir() or (folder / BOXES[GALLERY]).is_dir():
        return lambda path: read_market(path, _present(path, BOXES))
    if any((folder / name).is_dir() for name in PLAIN.values()):
        return _read_plain
    if has_identity_folders(folder):
        return lambda path: read_identity_folders(path, {TRAIN: path})
    return None


def _read_plain(folder: Path) -> Listing:
    """``train query gallery``, in which either the names or sub-folders tell identities."""
    present = _present(folder, PLAIN)
    if any(has_identity_folders(path) for path in present.values()):
        return read_identity_folders(folder, present)
    return read_market(folder, present)


def _present(folder: Path, names: dict[str, str]) -> dict[str, Path]:
    """The folders of the subsets that are there.

    Raises:
        InputError: one of query and gallery is there without the other.
    """
    present = {subset: folder / name for subset, name in names.items() if (folder / name).is_dir()}
    for here, other in ((QUERY, GALLERY), (GALLERY, QUERY)):
        if here in present and other not in present:
            raise InputError(
                f"{folder} has {names[here]}/ but no {names[other]}/: a ranking needs both. Add it, or remove"
                f" {names[here]}/ to train only."
            )
    return present


def _nothing_found(folder: Path) -> str:
    wanted = "; ".join(f"{name}: {what}" for name, what in _LOOKED_FOR)
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    nested = [path for path in inside if _reader_of(path) is not None]
    hint = f" Did you mean {nested[0]}?" if nested else ""
    return f"no ReID layout in {folder} (it has {first_names(sorted(folder.iterdir()))}).{hint} Looked for {wanted}."


def _empty(folder: Path, subset: str, listing: Listing) -> str:
    reasons = "".join(f" {note}" for note in listing.notes)
    return (
        f"the {subset} set of {folder} ({listing.layout}) is empty: it needs crops of people with their identities,"
        f" such as 0002_c1s1_000451_03.jpg.{reasons}"
    )
