"""Picture files to RGB, whatever they hold: turned cameras, grey, transparent, printed or 16-bit pictures."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kd_yolo.errors import InputError

_DEEP = ("I", "I;16", "I;16B", "I;16L")  # 16 bits a pixel; PIL clips them at 255 when asked for RGB
_WHAT_FAILS = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError, ImportError)
# ImportError: ultralytics, where it is imported too, makes PIL ask for one more package


def read_rgb(path: Path) -> Image.Image:
    """Decodes a picture to RGB, upright, 8 bits a channel. Transparency is dropped; 16-bit greys are scaled.

    Raises:
        InputError: the file is missing or does not decode.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return _in_8_bits(upright).convert("RGB")
    except _WHAT_FAILS as error:
        reason = "unknown format" if isinstance(error, ImportError) else str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read as a picture ({reason}): replace or remove it.") from error


def is_readable(path: Path, *, whole: bool = True) -> bool:
    """Whether a picture decodes; only its header is read when not ``whole``."""
    try:
        with Image.open(path) as picture:
            if whole:
                picture.load()
    except _WHAT_FAILS:
        return False
    return True


def _in_8_bits(picture: Image.Image) -> Image.Image:
    if picture.mode not in _DEEP:
        return picture
    levels = np.asarray(picture).astype(np.float64) * (255 / 65535)
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
