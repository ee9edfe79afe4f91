"""Files that hold weights, read without running what is in them; errors name the file type found."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import PickleFacts, ScanError
from kd_yolo.base.reading import printable, regular_file, shown
from kd_yolo.base.torch_files import scan_archive, scan_legacy
from kd_yolo.reid.model.pickle_policy import MAX_DEPTH, MAX_PICKLE_BYTES, check_pickle, names_beyond_plain

FETCH_AGAIN = "Copy or download it again."
GIVE = "give a .pt that `kd-yolo reid train` wrote"
MAX_BYTES = 8 << 30  # a ViT-L with the state of its optimizer has 4 GB
MAX_RECORDS = 100_000
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
            _check(file, stream)
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # torch has no one class for what a stranger's bytes do to it
        raise InputError(_refused(file, error)) from error


def _check(file: Path, stream: IO[bytes]) -> None:
    """Checks the format, all sizes, and what the pickles name, call and hold."""
    size, head = os.fstat(stream.fileno()).st_size, stream.read(1024)
    _reject_other_formats(file, size, head)
    stream.seek(0)
    try:
        facts = _scan(file, size, stream, is_archive=head.startswith(b"PK\x03\x04"))
        _reject_names(file, names_beyond_plain(facts))
        for found in facts:
            check_pickle(found)
    except zipfile.BadZipFile:
        raise InputError(
            f"{file} is damaged or was cut off (an archive of {size} bytes without an end). {FETCH_AGAIN}"
        ) from None
    except _RefusedError as error:
        raise InputError(str(error)) from None
    except (InputError, ScanError, RuntimeError, IndexError) as error:
        reason = printable(str(error).partition("\n")[0][:300])
        raise InputError(f"{file} is damaged, was cut off or was made to harm: {reason}. {FETCH_AGAIN}") from None


class _RefusedError(InputError):
    """Its message is whole."""


def _scan(file: Path, size: int, stream: IO[bytes], *, is_archive: bool) -> list[PickleFacts]:
    if not is_archive:
        start = io.BytesIO(stream.read(MAX_PICKLE_BYTES))  # the storages come after the pickles
        return scan_legacy(start, size, MAX_DEPTH)
    _check_records(file, size, stream)
    stream.seek(0)
    reader = torch._C.PyTorchFileReader(stream)
    if int(reader.get_record_size("data.pkl")) > MAX_PICKLE_BYTES:
        raise InputError("its pickle is larger than a network needs")
    return [scan_archive(reader, MAX_DEPTH)]


def _check_records(file: Path, size: int, stream: IO[bytes]) -> None:
    """Checks the directory of an archive, before any record is unpacked."""
    with zipfile.ZipFile(stream) as archive:
        records = archive.infolist()
    names = [record.filename for record in records]
    if any(name.endswith("/constants.pkl") for name in names):
        raise _RefusedError(f"{file} is an exported TorchScript file: give the checkpoint (.pt) that it was made from.")
    num_pickles = sum(name.endswith("/data.pkl") for name in names)
    if not num_pickles:
        raise _RefusedError(f"{file} is a zip archive, but not one that PyTorch wrote: give a checkpoint (.pt).")
    if len(records) > MAX_RECORDS or len(set(names)) < len(names) or num_pickles > 1:
        raise InputError(f"{len(records)} records, some with the same name")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise InputError("its records are compressed, which PyTorch does not write")
    if sum(record.file_size for record in records) > size:
        raise InputError("its records claim more than the file holds")


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


def _reject_names(file: Path, names: list[str]) -> None:
    """Refuses a file that names more than plain values and tensors."""
    if any(name.startswith("ultralytics") for name in names):
        raise _RefusedError(f"{file} is a YOLO checkpoint of ultralytics, not a ReID network: {GIVE}.")
    if names:
        raise _RefusedError(_not_plain(file, f"it names {shown(names[0])}"))


def _refused(file: Path, error: Exception) -> str:
    """Why torch did not load a file in which nothing was found."""
    reason = str(error).replace("\n", " ")
    if "Unsupported" in reason or "WeightsUnpickler" in reason:
        return _not_plain(file, shown(reason))
    return f"{file} is damaged or was cut off ({shown(reason or type(error).__name__)}). {FETCH_AGAIN}"


def _not_plain(file: Path, found: str) -> str:
    return (
        f"{file} holds more than plain values and tensors, and is not loaded ({found}): {GIVE}, or a file with a"
        " state dict alone."
    )
