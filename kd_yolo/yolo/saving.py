"""Checkpoints are written beside and renamed: under the final name there is a whole file or the previous one."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from kd_yolo.errors import KDYoloError


def save_atomically(obj: Any, path: str | Path) -> Path:
    """``torch.save`` that never leaves a half file under ``path``.

    Args:
        obj: what to save.
        path: final name; missing folders are made.

    Returns:
        The path.

    Raises:
        KDYoloError: the file could not be written (disk full, no permission); a previous file is still whole.
    """
    path = Path(path)
    target = path.resolve()  # a link stays a link
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    buffer = (
        io.BytesIO()
    )  # torch.save hides the system's reason, and ultralytics' version of it appends when it retries
    torch.save(obj, buffer)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(buffer.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:
        raise KDYoloError(
            f"{path} could not be written: {error.strerror or error}. A previous file of that name is unharmed: make"
            " room there, or save elsewhere."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return path
