"""What a browser sends: an image within the limits, or the reason it was rejected."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.search.frames.frame_types import ImageHW3

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
NAMES = "JPEG, PNG, WebP, BMP, TIFF or GIF"
BROKEN = "The image is damaged: it starts like one and cannot be read. Choose another."
MEGABYTE = 1024**2
# what PIL's readers raise on damaged files; ImportError where ultralytics has extended PIL
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, MemoryError, ImportError)


@dataclass(frozen=True)
class Limits:
    """What is accepted.

    Attributes:
        size_mb: largest file, in megabytes of 1,048,576 bytes, as browsers count.
        megapixels: most pixels of an image, in millions.
    """

    size_mb: float
    megapixels: float

    @property
    def size_bytes(self) -> int:
        """Largest file in bytes."""
        return int(self.size_mb * MEGABYTE)

    @property
    def too_big(self) -> str:
        """What a user is told about a file over the limit."""
        return f"The file is larger than {self.size_mb:g} MB. Choose a smaller image."


def read_upload(data: bytes, limits: Limits) -> ImageHW3:
    """The image that a file's bytes hold; its name and what the browser says of it count for nothing.

    Args:
        data: the whole file.
        limits: what is accepted; the size in pixels is looked up before anything is decoded.

    Returns:
        (H,W,3) BGR, upright.

    Raises:
        InputError: too large, of another kind, or damaged.
    """
    if len(data) > limits.size_bytes:
        raise InputError(limits.too_big)
    _check_header(data, limits)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(BROKEN)
    return np.asarray(image, np.uint8)


def _check_header(data: bytes, limits: Limits) -> None:
    """Finds out what a file is, how large its image is, and whether all of it is there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"The image has more than {limits.megapixels:g} megapixels. Choose a smaller one.") from None
    except _DAMAGED:
        raise InputError(f"This file is not an image that can be read here. Choose a {NAMES} file.") from None
    with opened:
        width, height = opened.size
        if width * height > limits.megapixels * 1e6:
            raise InputError(
                f"The image is {width} x {height} pixels, more than {limits.megapixels:g} megapixels. Choose a"
                " smaller one."
            )
        try:
            opened.load()
        except _DAMAGED:
            raise InputError(BROKEN) from None
