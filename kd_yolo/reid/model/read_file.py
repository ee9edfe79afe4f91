"""Files that hold weights, read without running what is in them; a message says what a wrong file is."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from kd_yolo.errors import InputError

FETCH_AGAIN = "Copy or download it again."


def read_safely(file: Path) -> Any:
    """``torch.load(weights_only=True)`` on the CPU.

    Args:
        file: the file.

    Raises:
        InputError: it is missing, empty, damaged, of another format, or holds more than plain values and tensors.
    """
    if not file.exists():
        raise InputError(f"there is no file {file}. Check the path.")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    _reject_other_formats(file, data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(_unsafe(file, data, error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file} is damaged or was cut off ({reason}). {FETCH_AGAIN}") from error


def _reject_other_formats(file: Path, data: bytes) -> None:
    if not data:
        raise InputError(f"{file} is empty (0 bytes). {FETCH_AGAIN}")
    text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<script", b"<?xml")):
        raise InputError(f"{file} is a web page, not a checkpoint: a download saved an error page. {FETCH_AGAIN}")
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull`.")
    if data.startswith(b"\x80"):  # a pickle: torch's format before the archives
        return
    if not data.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{file} is not a PyTorch checkpoint (first bytes {data[:8]!r}): give a .pt that `kd-yolo reid train`"
            " wrote."
        )
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{file} is damaged or was cut off (an archive of {len(data)} bytes without an end). {FETCH_AGAIN}"
        ) from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(f"{file} is an exported TorchScript file: give the checkpoint (.pt) that it was made from.")
    if not any(name.endswith("/data.pkl") for name in names):
        raise InputError(f"{file} is a zip archive, but not one that PyTorch wrote: give a checkpoint (.pt).")


def _unsafe(file: Path, data: bytes, error: Exception) -> str:
    if b"ultralytics" in _pickles(data):
        return (
            f"{file} is a YOLO checkpoint of ultralytics, not a ReID network: give a checkpoint that"
            " `kd-yolo reid train` wrote."
        )
    reason = str(error).replace("\n", " ")
    found = reason[reason.find("Unsupported") :].split(" was not")[0][:120] if "Unsupported" in reason else "damaged"
    return (
        f"{file} holds more than plain values and tensors, and is not loaded ({found}): give a checkpoint that"
        " `kd-yolo reid train` wrote, or a file with a state dict alone."
    )


def _pickles(data: bytes) -> bytes:
    """The bytes that name classes: those of the pickle in an archive, or the file itself."""
    if not data.startswith(b"PK\x03\x04"):
        return data
    archive = zipfile.ZipFile(io.BytesIO(data))
    return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
