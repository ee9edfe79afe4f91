"""Image files to BGR: upright, 8 bits, whatever they hold and however large they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_yolo.base.images import image_size, read_image
from kd_yolo.reid.data.decode import read_rgb
from kd_yolo.search.frames.frame_types import ImageHW3

LARGE_PX = 64_000_000  # from here on PIL's second copy counts


def read_bgr(path: Path) -> ImageHW3:
    """Decodes an image (H,W,3), BGR uint8.

    Turned cameras are set upright, greys, transparent, printed (CMYK) and 16-bit images become plain colour. An
    image above 64 megapixels is decoded by OpenCV, without a second copy; above 179 megapixels it is refused by its
    header.

    Raises:
        InputError: the file is missing or no regular file, does not decode, or is too large.
    """
    width, height = image_size(path)
    if width * height > LARGE_PX:
        return np.asarray(read_image(path), np.uint8)
    return np.ascontiguousarray(np.asarray(read_rgb(path))[:, :, ::-1])
