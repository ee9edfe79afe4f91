"""Checkpoints are written beside and renamed: under the final name there is a whole file or the previous one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from kd_yolo.base.files import write_bytes


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
    buffer = io.BytesIO()  # torch.save hides the system's reason; ultralytics' version of it appends when it retries
    torch.save(obj, buffer)
    return write_bytes(Path(path), buffer.getbuffer())
