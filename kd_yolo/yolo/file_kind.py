"""What a file with the name of a checkpoint really is, told from its bytes: nothing is unpickled here."""

from __future__ import annotations

import io
import zipfile
from enum import Enum
from pathlib import Path

import torch

from kd_yolo.errors import InputError
from kd_yolo.yolo.locate import EXPORTED, GIVE_THE_PT
from kd_yolo.yolo.pickle_scan import ScanError, scan_pickle

FETCH_AGAIN = "Copy or download it again."
_HEAD_BYTES = 1024
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 of torch's magic number, then STOP


class Kind(Enum):
    """The three forms in which pickled objects come."""

    ZIP = "torch zip archive"
    LEGACY = "torch legacy file: five pickles, then the tensors"
    PICKLE = "plain pickle"


def read_checkpoint(file: Path) -> tuple[bytes, Kind]:
    """Reads the whole file once, so that what was looked at is what is loaded.

    Raises:
        InputError: unreadable, empty, damaged, or of another format.
    """
    try:
        with file.open("rb") as stream:
            _reject_other_format(file, stream.read(_HEAD_BYTES))
            stream.seek(0)
            data = stream.read()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    return data, _kind(file, data)


def _kind(file: Path, data: bytes) -> Kind:
    if data.startswith(b"PK\x03\x04"):
        _check_archive(file, data)
        return Kind.ZIP
    if _LEGACY_MAGIC in data[:32]:
        return Kind.LEGACY
    try:
        scan_pickle(io.BytesIO(data))
    except ScanError as error:
        raise InputError(
            f"{file} is not a PyTorch checkpoint: neither an archive nor a pickle (first bytes {data[:8]!r})."
            f" {FETCH_AGAIN}"
        ) from error
    return Kind.PICKLE


def _check_archive(file: Path, data: bytes) -> None:
    try:
        records = torch._C.PyTorchFileReader(io.BytesIO(data)).get_all_records()
    except (RuntimeError, ValueError) as error:  # ValueError: it seeks to before the start of a file that was cut off
        raise _unreadable_archive(file, data) from error
    if "constants.pkl" in records:
        raise InputError(f"{file} is {EXPORTED['.torchscript']}. {GIVE_THE_PT}")
    if "data.pkl" not in records:
        raise InputError(f"{file} is a zip archive, but not a checkpoint: it has no data.pkl. Give a .pt file.")


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
