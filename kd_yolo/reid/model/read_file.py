"""Files that hold weights, read without running what is in them; errors name the file type found."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import regular_file, shown
from kd_yolo.reid.model.pickle_scan import MAX_PICKLE_BYTES, scan

FETCH_AGAIN = "Copy or download it again."
GIVE = "give a .pt that `kd-yolo reid train` wrote"
MAX_BYTES = 8 << 30  # a ViT-L with the state of its optimizer has 4 GB
MAX_RECORDS = 100_000
_OLD_PICKLES = 5  # of torch's format before the archives: magic number, version, system, values, names of storages
_ONNX = b"\x08"  # first field of an ONNX model: its version


def read_safely(path: str | Path) -> Any:
    """``torch.load(weights_only=True)`` on the CPU, of a file whose sizes were checked first.

    Args:
        path: the file.

    Raises:
        InputError: it is missing, no regular file, empty, damaged, of another format, claims more than it holds, or
            holds more than plain values and tensors.
    """
    file = regular_file(path, "network")
    try:
        with file.open("rb") as stream:
            names = _check(file, stream)
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # torch has no one class for what a stranger's bytes do to it
        raise InputError(_refused(file, names, error)) from error


def _check(file: Path, stream: IO[bytes]) -> set[str]:
    """Checks the format and all sizes; the classes and functions that the file names."""
    size, head = os.fstat(stream.fileno()).st_size, stream.read(1024)
    _reject_other_formats(file, size, head)
    stream.seek(0)
    try:
        if head.startswith(b"PK\x03\x04"):
            return _scan_archive(file, size, stream)
        start = io.BytesIO(stream.read(MAX_PICKLE_BYTES))  # the storages come after the pickles
        return set().union(*(scan(start, spare_bytes=size) for _ in range(_OLD_PICKLES)))
    except zipfile.BadZipFile:
        raise InputError(
            f"{file} is damaged or was cut off (an archive of {size} bytes without an end). {FETCH_AGAIN}"
        ) from None
    except _ScanError as error:
        raise InputError(str(error)) from None
    except InputError as error:
        raise InputError(f"{file} is damaged, was cut off or was made to harm: {error}. {FETCH_AGAIN}") from None


class _ScanError(InputError):
    """Its message is whole."""


def _scan_archive(file: Path, size: int, stream: IO[bytes]) -> set[str]:
    with zipfile.ZipFile(stream) as archive:
        records = archive.infolist()
        names = [record.filename for record in records]
        if any(name.endswith("/constants.pkl") for name in names):
            raise _ScanError(
                f"{file} is an exported TorchScript file: give the checkpoint (.pt) that it was made from."
            )
        pickles = [record for record in records if record.filename.endswith("/data.pkl")]
        if not pickles:
            raise _ScanError(f"{file} is a zip archive, but not one that PyTorch wrote: give a checkpoint (.pt).")
        if len(records) > MAX_RECORDS or len(set(names)) < len(names) or len(pickles) > 1:
            raise InputError(f"{len(records)} records, some with the same name")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise InputError("its records are compressed, which PyTorch does not write")
        if sum(record.file_size for record in records) > size or pickles[0].file_size > MAX_PICKLE_BYTES:
            raise InputError("its records claim more than the file holds, or more than a network needs")
        prefix = pickles[0].filename.removesuffix("data.pkl") + "data/"
        storages = {x.filename.removeprefix(prefix): x.file_size for x in records if x.filename.startswith(prefix)}
        with archive.open(pickles[0]) as source:
            return scan(io.BytesIO(source.read()), storages)


def _reject_other_formats(file: Path, size: int, head: bytes) -> None:
    if not size:
        raise InputError(f"{file} is empty (0 bytes). {FETCH_AGAIN}")
    if size > MAX_BYTES:
        raise InputError(f"{file} has {size} bytes, expected at most {MAX_BYTES}: {GIVE}.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<script", b"<?xml")):
        raise InputError(f"{file} is a web page, not a checkpoint: a download saved an error page. {FETCH_AGAIN}")
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull`.")
    if file.suffix.lower() == ".onnx" and head.startswith(_ONNX):
        raise InputError(f"{file} is an ONNX file, which kd-yolo search takes; here {GIVE}.")
    if head.startswith((b"PK\x03\x04", b"\x80")):  # an archive, or a pickle: torch's format before the archives
        return
    raise InputError(f"{file} is not a PyTorch checkpoint (first bytes {head[:8]!r}): {GIVE}.")


def _refused(file: Path, names: set[str], error: Exception) -> str:
    """Why torch did not load a file whose sizes are right."""
    if any(name.startswith("ultralytics") for name in names):
        return f"{file} is a YOLO checkpoint of ultralytics, not a ReID network: {GIVE}."
    plain = ("torch._utils.", "collections.", "__builtin__.", "builtins.")
    whole = sorted(name for name in names if not name.startswith(plain) and not name.endswith("Storage"))
    reason = str(error).replace("\n", " ")
    if "Unsupported" in reason or "WeightsUnpickler" in reason:
        found = f"it names {shown(whole[0])}" if whole else shown(reason)
        return (
            f"{file} holds more than plain values and tensors, and is not loaded ({found}): {GIVE}, or a file with a"
            " state dict alone."
        )
    return f"{file} is damaged or was cut off ({shown(reason or type(error).__name__)}). {FETCH_AGAIN}"
