"""Image files to RGB, whatever they hold: turned cameras, grey, transparent, printed or 16-bit images."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kd_yolo.base.errors import InputError
from kd_yolo.base.images import MAX_PIXELS, UNREADABLE
from kd_yolo.base.reading import regular_file, shown

MAX_CROP_PIXELS = MAX_PIXELS // 2  # from here on Pillow warns
_DEEP = ("I", "I;16", "I;16B", "I;16L")  # 16 bits a pixel; PIL clips them at 255 when asked for RGB
DAMAGED = (*UNREADABLE, struct.error, Image.DecompressionBombError)


def read_rgb(path: Path) -> Image.Image:
    """Decodes an image to RGB, upright, 8 bits a channel. Transparency is dropped; 16-bit greys are scaled.

    Raises:
        InputError: the file is missing, no regular file, too large or does not decode.
    """
    with _opened(path) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return _in_8_bits(upright).convert("RGB")


def is_readable(path: Path, *, whole: bool = True) -> bool:
    """Whether an image decodes; only its header is read when not ``whole``."""
    try:
        with _opened(path) as image:
            if whole:
                image.load()
    except InputError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose header was read and whose size is bounded; what goes wrong inside is an ``InputError``."""
    file = regular_file(path, "image")
    try:
        with Image.open(file) as image:
            width, height = image.size
            if width * height > MAX_CROP_PIXELS:
                raise InputError(f"image {file} is too large: {width} x {height}, at most {MAX_CROP_PIXELS} pixels.")
            yield image
    except DAMAGED as error:
        reason = "unknown format" if isinstance(error, ImportError) else shown(str(error) or type(error).__name__)
        raise InputError(f"{file} cannot be read as an image ({reason}): replace or remove it.") from error


def _in_8_bits(image: Image.Image) -> Image.Image:
    if image.mode not in _DEEP:
        return image
    levels = np.asarray(image).astype(np.float64) * (255 / 65535)
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
