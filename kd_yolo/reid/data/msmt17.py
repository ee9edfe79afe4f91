"""MSMT17 with its list files, V1 and V2 (masked faces)."""

from __future__ import annotations

from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_text, shown
from kd_yolo.reid.data.sample import GALLERY, MAX_NUMBER, QUERY, TRAIN, Listing, Sample

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
_FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
_NEEDED = (LISTS[0], *LISTS[2:])
_CAMERA = 2  # field of a name: 0000_000_01_0303morning_0015_0.jpg is camera 1


def has_lists(folder: Path) -> bool:
    """Whether the list files are there; that of validation is optional."""
    return all((folder / name).is_file() for name in _NEEDED)


def read_msmt17(folder: Path) -> Listing:
    """Reads the lists; train and validation list together are the training set, as is usual.

    The lists number test identities from 0 again, though they are other people: here they go on after the last training
    identity.

    Raises:
        InputError: the image folders are missing, or a line is not "path identity".

    References:
        Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification", CVPR 2018.
    """
    train, test = _folders(folder)
    samples = _read(folder / LISTS[0], train, 0)
    if (folder / LISTS[1]).is_file():
        samples += _read(folder / LISTS[1], train, 0)
    after = max((sample.identity for sample in samples), default=-1) + 1
    query, gallery = (_read(folder / name, test, after) for name in LISTS[2:])
    note = f"MSMT17 numbers test identities from 0 again: here they begin at {after}."
    return Listing("MSMT17 lists", {TRAIN: samples, QUERY: query, GALLERY: gallery}, (note,))


def _folders(folder: Path) -> tuple[Path, Path]:
    for train, test in _FOLDERS:
        if (folder / train).is_dir() and (folder / test).is_dir():
            return folder / train, folder / test
    wanted = " or ".join(f"{train}/ and {test}/" for train, test in _FOLDERS)
    raise InputError(f"{folder} has the lists of MSMT17 but no images: expected {wanted} beside {LISTS[0]}.")


def _read(list_file: Path, images: Path, offset: int) -> list[Sample]:
    samples: list[Sample] = []
    for number, line in enumerate(read_text(list_file, what="list").splitlines(), 1):
        if not line.strip():
            continue
        name, _, identity = line.strip().rpartition(" ")
        fields = Path(name).name.split("_")
        if not name or len(fields) <= _CAMERA or not _is_number(identity) or not _is_number(fields[_CAMERA]):
            raise InputError(
                f"{list_file}, line {number}: {shown(line.strip())}, expected path and identity, such as"
                " '0000/0000_000_01_0303morning_0015_0.jpg 0', the third field of the name the camera."
            )
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(
                f"{list_file}, line {number}: {shown(name)} is not inside {images}: expected a path from there."
            )
        samples.append(Sample(images / name, int(identity) + offset, int(fields[_CAMERA])))
    return samples


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= len(str(MAX_NUMBER)) and int(text) < MAX_NUMBER
