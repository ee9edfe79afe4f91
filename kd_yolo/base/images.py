"""Reads images that a user names: the size in their header is checked before a pixel is decoded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_bytes, regular_file

MAX_PIXELS = 178_956_970  # Pillow's own limit, 13,377 x 13,377: scanner images fit, 60,000 x 60,000 does not
MAX_BYTES = 1 << 30
# What Pillow raises for files that are damaged or no images: SyntaxError for a broken PNG, and, once ultralytics has
# put its own Image.open in place, ImportError for what only a plugin that is not installed might read.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    ArithmeticError,
    MemoryError,
    EOFError,
    LookupError,
    TypeError,
    ImportError,
)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height by the file's header; nothing is decoded.

    Raises:
        InputError: not a regular file, no image, or more than ``MAX_PIXELS``.
    """
    file = regular_file(path, "image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as header:
                width, height = header.size
    except Image.DecompressionBombError:
        raise InputError(f"image {file} is too large: more than {MAX_PIXELS} pixels.") from None
    except UNREADABLE as error:
        raise InputError(f"{file} is not an image that can be read: {str(error)[:200]}") from None
    if width * height > MAX_PIXELS:
        raise InputError(f"image {file} is too large: {width} x {height}, expected at most {MAX_PIXELS} pixels.")
    return width, height


def read_image(path: str | Path, *, flags: int | None = None) -> Any:
    """An image (H, W, 3) uint8 in BGR as OpenCV reads it, its header checked first.

    Args:
        path: the file.
        flags: of ``cv2.imdecode``; None is ``cv2.IMREAD_COLOR``.

    Raises:
        InputError: see :func:`image_size`; or it does not decode.
    """
    import cv2  # importing it costs 0.2 s

    image_size(path)
    data = np.frombuffer(read_bytes(path, limit=MAX_BYTES, what="image"), dtype=np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR if flags is None else flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path} is not an image that can be read.")
    return image
