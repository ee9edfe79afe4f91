"""Crops as image files: their size, their pixels, and what of them is kept."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.base.images import UNREADABLE
from kd_yolo.base.reading import regular_file
from kd_yolo.reid.data.decode import read_rgb
from kd_yolo.search.frames.frame_types import ImageHW3

QUALITY = 95
LARGEST_PX = 512  # of a side; no network looks at more, and a portion of photographs would fill the memory
_TURNED = 0x0112  # EXIF's orientation; from 5 on width and height change places
_JPEG_MODES = ("RGB", "L")


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image, upright, from its header."""
    try:
        regular_file(path, "image")
        with Image.open(path) as header:
            turned = header.getexif().get(_TURNED, 1) >= 5
            return header.size[::-1] if turned else header.size
    except (InputError, *UNREADABLE):
        return 0, 0


def read_crop(path: Path) -> ImageHW3:
    """The pixels of a crop, RGB, at most :data:`LARGEST_PX` a side.

    Raises:
        InputError: it does not decode.
    """
    regular_file(path, "image")
    image = read_rgb(path)
    image.thumbnail((LARGEST_PX, LARGEST_PX))
    return np.asarray(image, np.uint8)


def jpeg_of(path: Path, image_hw3: ImageHW3) -> bytes:
    """A crop as a JPEG: the file itself where it is one that stands upright and is not large.

    Args:
        path: of the crop.
        image_hw3: its pixels, see :func:`read_crop`.
    """
    with Image.open(path) as header:
        is_small = max(header.size) <= LARGEST_PX
        if is_small and header.format == "JPEG" and header.mode in _JPEG_MODES and not header.getexif():
            return path.read_bytes()
    buffer = io.BytesIO()
    Image.fromarray(image_hw3).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
