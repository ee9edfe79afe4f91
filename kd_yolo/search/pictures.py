"""Picture files to BGR: upright, 8 bits, whatever they hold and however large they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from kd_yolo.errors import InputError
from kd_yolo.reid.data.decode import read_rgb
from kd_yolo.search.records import Picture

LARGE_PX = 64_000_000  # from here on PIL's second copy counts, and its guard against bombs comes near


def read_picture(path: Path) -> Picture:
    """Decodes a picture (H,W,3), BGR uint8.

    Turned cameras are set upright, greys, transparent, printed (CMYK) and 16-bit pictures become plain colour. A
    picture above 64 megapixels is decoded by OpenCV, without a second copy; above 1,024 megapixels it is refused.

    Raises:
        InputError: the file is missing, does not decode, or is too large.
    """
    if _is_large(path):
        return _read_large(path)
    return np.ascontiguousarray(np.asarray(read_rgb(path))[:, :, ::-1])


def _is_large(path: Path) -> bool:
    """By the header; a picture that PIL takes for a bomb is large."""
    try:
        with Image.open(path) as picture:
            return picture.width * picture.height > LARGE_PX
    except Image.DecompressionBombError:
        return True
    except Exception:  # whatever is wrong with it: the decoder says it
        return False


def _read_large(path: Path) -> Picture:
    try:
        found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise InputError(f"{path} is too large to be read ({str(error).strip()}): make it smaller.") from error
    if found is None:
        raise InputError(f"{path} is large and does not decode: save it as PNG or JPEG.")
    return np.asarray(found, np.uint8)
