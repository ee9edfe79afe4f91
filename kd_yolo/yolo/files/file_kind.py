"""What a file with the name of a checkpoint really is, told from its bytes: nothing is unpickled here."""

from __future__ import annotations

import io
import zipfile
from enum import Enum
from pathlib import Path

import torch

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import ScanError, TooLargeError
from kd_yolo.base.pickles import scan_pickle
from kd_yolo.base.reading import regular_file
from kd_yolo.yolo.files.locate import EXPORTED, GIVE_THE_PT

GIVE_A_MODEL = "Give the .pt file of a YOLO model."
FETCH_AGAIN = "Copy or download it again."
MAX_BYTES = 8 << 30  # the largest official checkpoint has 0.3 GiB
_MAX_PICKLE_BYTES = 64 << 20  # without the numbers of its tensors, yolov8n has 82 kB
_MAX_EXPANSION = 16  # a torch archive is not compressed; one that somebody packed again is, by little
_HEAD_BYTES = 1024
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 of torch's magic number, then STOP


class Kind(Enum):
    """The two forms in which checkpoints come."""

    ZIP = "torch zip archive"
    LEGACY = "torch legacy file: five pickles, then the tensors"


def read_checkpoint(file: Path) -> tuple[bytes, Kind]:
    """Reads the whole file once, so that what was looked at is what is loaded.

    Raises:
        InputError: no regular file, too large, unreadable, empty, damaged, or of another format.
    """
    regular_file(file, "weights")
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{file} has {size} bytes, expected at most {MAX_BYTES}: it is no YOLO checkpoint.")
        with file.open("rb") as stream:
            _reject_other_format(file, stream.read(_HEAD_BYTES))
            stream.seek(0)
            data = stream.read(size)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise InputError(f"{file} has {size} bytes, which do not fit into memory.") from error
    return data, _kind(file, data)


def _kind(file: Path, data: bytes) -> Kind:
    if data.startswith(b"PK\x03\x04"):
        _check_archive(file, data)
        return Kind.ZIP
    if _LEGACY_MAGIC in data[:32]:
        return Kind.LEGACY
    try:
        scan_pickle(io.BytesIO(data))
    except TooLargeError as error:
        raise InputError(f"{file} is a pickle, but not of a YOLO model: {error}. {GIVE_A_MODEL}") from error
    except ScanError as error:
        raise InputError(
            f"{file} is not a PyTorch checkpoint: neither an archive nor a pickle (first bytes {data[:8]!r})."
            f" {FETCH_AGAIN}"
        ) from error
    raise InputError(f"{file} is a plain pickle, not a PyTorch checkpoint. {GIVE_A_MODEL}")


def _check_archive(file: Path, data: bytes) -> None:
    """Checks names and sizes of the records, before any is unpacked."""
    try:
        reader = torch._C.PyTorchFileReader(io.BytesIO(data))
        sizes = {name: int(reader.get_record_size(name)) for name in reader.get_all_records()}
    except (RuntimeError, ValueError) as error:  # ValueError: it seeks to before the start of a file that was cut off
        raise _unreadable_archive(file, data) from error
    if "constants.pkl" in sizes:
        raise InputError(f"{file} is {EXPORTED['.torchscript']}. {GIVE_THE_PT}")
    if "data.pkl" not in sizes:
        raise InputError(f"{file} is a zip archive, but not a checkpoint: it has no data.pkl. Give a .pt file.")
    total = sum(sizes.values())
    if sizes["data.pkl"] > _MAX_PICKLE_BYTES or total > max(_MAX_EXPANSION * len(data), 1 << 20):
        raise InputError(
            f"{file} unpacks from {len(data)} to {total} bytes, {sizes['data.pkl']} of them a pickle:"
            f" it is no YOLO checkpoint. {GIVE_A_MODEL}"
        )


def _unreadable_archive(file: Path, data: bytes) -> InputError:
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError):
        return damaged(file, f"an archive of {len(data)} bytes without an end")
    if any(name.endswith("/data.pkl") for name in names):
        return damaged(file, "an archive whose contents cannot be read")
    return InputError(f"{file} is a zip archive, but not one that PyTorch wrote. Give a .pt file.")


def damaged(file: Path, reason: object) -> InputError:
    """The error for a checkpoint that is cut off or corrupt."""
    return InputError(f"{file} is damaged or was cut off ({reason}). {FETCH_AGAIN}")


def _reject_other_format(file: Path, head: bytes) -> None:
    if not head:
        raise InputError(f"{file} is empty (0 bytes). {FETCH_AGAIN}")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        raise InputError(
            f"{file} is a web page, not a checkpoint: the download saved an error or login page. {FETCH_AGAIN}"
        )
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull`.")
    exported = _exported_format(head, text)
    if exported:
        raise InputError(f"{file} is {exported}, whatever its name says. {GIVE_THE_PT}")
    if text.startswith(b"<?xml"):
        raise InputError(f"{file} is an XML text, probably a server's error message. {FETCH_AGAIN}")


def _exported_format(head: bytes, text: bytes) -> str | None:
    """Tells exported models by their first bytes."""
    if text.startswith(b"<?xml") and b"<net" in text:
        return EXPORTED[".xml"]
    if head[4:8] == b"TFL3":
        return EXPORTED[".tflite"]
    if head[4:5] == b"{" or head[:4] in {b"ftrt", b"ptrt"}:  # ultralytics puts 4 bytes and its JSON before an engine
        return EXPORTED[".engine"]
    if head[8:10] in {b'{"', b"{}"}:  # 8 bytes of header length, then JSON
        return EXPORTED[".safetensors"]
    if head[:1] == b"\x08" and head[2:3] == b"\x12" and head[4 : 4 + head[3]].isascii():  # ir_version, producer_name
        return EXPORTED[".onnx"]
    return None
