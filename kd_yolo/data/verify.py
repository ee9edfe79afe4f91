"""Whether training can use an image file: ultralytics' own decisions, but nothing is written.

Ultralytics looks at every image before the first epoch. It leaves out what it cannot open, and a JPEG that does not end
as one is decoded and **rewritten in its place** with quality 100. What passes and then does not decode stops the
training.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kd_yolo.base.errors import InputError
from kd_yolo.base.images import MAX_BYTES, MAX_PIXELS
from kd_yolo.base.reading import read_bytes
from kd_yolo.data.suffixes import IMAGE_SUFFIXES
from kd_yolo.data.tree import check_waits

MIN_SIDE_PX = 10
_FORMATS = frozenset({suffix[1:] for suffix in IMAGE_SUFFIXES} | {"jpeg2000"})
_BY_PIL = frozenset((".avif", ".heic", ".heif"))  # ultralytics lets PIL decode these
_RAW = frozenset((".dng",))  # decoded by what OpenCV was built with
_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class Verdict:
    """What training does with an image.

    Attributes:
        left_out: why it is left out; empty when it is used.
        rewritten: ultralytics will rewrite the file.
        stops: it is used, but does not decode, which ends the training.
    """

    left_out: str = ""
    rewritten: bool = False
    stops: bool = False


def verify_image(file: Path) -> Verdict:
    """What ultralytics will do with an image, told by its header, and by decoding it.

    Raises:
        InputError: a pipe or a device: opening it may never return.
    """
    check_waits(file)
    check_waits(file.with_suffix(".npy"))  # ultralytics reads that instead of the image when it is newer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _verify(file)
    except Exception as error:  # as upstream: whatever a decoder raises, the image is left out
        return Verdict(left_out=_reason(file, error))


def _verify(file: Path) -> Verdict:
    if not file.stat().st_size:
        return Verdict("empty")
    with Image.open(file) as image:
        (width, height), kind = image.size, str(image.format)
        if width * height > MAX_PIXELS:
            return Verdict(f"{width} x {height} px, expected at most {MAX_PIXELS} pixels")
        image.verify()
    if min(width, height) < MIN_SIDE_PX:
        return Verdict(f"{width} x {height} px, expected at least {MIN_SIDE_PX} x {MIN_SIDE_PX}")
    if kind.lower() not in _FORMATS:
        return Verdict(f"is a {kind} file, which ultralytics does not train on")
    if kind == "JPEG" and not _ends_as_jpeg(file):
        with Image.open(file) as image:
            ImageOps.exif_transpose(image).load()  # what ultralytics would write
        return Verdict(rewritten=True)
    return Verdict(stops=not decodes(file))


def _ends_as_jpeg(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-2, 2)
        return stream.read() == _JPEG_END


def _reason(file: Path, error: Exception) -> str:
    if not file.exists():
        return "missing"
    if not file.is_file():
        return "is a folder"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS} pixels"
    unknown = isinstance(error, UnidentifiedImageError | ImportError)  # ImportError: no plugin that reads HEIC
    return "is no image that can be read" if unknown else f"does not decode: {' '.join(str(error).split())[:120]}"


def decodes(file: Path) -> bool:
    """Whether an image decodes, by the library that ultralytics takes; its header must have been checked.

    Raises:
        InputError: a pipe or a device.
    """
    check_waits(file)
    suffix = file.suffix.lower()
    if suffix in _BY_PIL:
        return _opens_by_pil(file)
    try:
        data = np.frombuffer(read_bytes(file, limit=MAX_BYTES, what="image"), np.uint8)
        return suffix in _RAW or cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_2) is not None
    except (InputError, cv2.error):
        return False


def num_channels(file: Path) -> int:
    """Channels of an image as ultralytics reads it when the data has neither 1 nor 3; 0 when it cannot be read.

    A TIFF of several grey pages has one for each page.
    """
    try:
        data = np.frombuffer(read_bytes(file, limit=MAX_BYTES, what="image"), np.uint8)
        if file.suffix.lower() in (".tif", ".tiff"):
            read, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
            image = pages[0] if read and pages[0].ndim == 3 else np.stack(pages, 2) if read else None
        else:
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except (InputError, cv2.error, ValueError):  # ValueError: pages of different sizes
        return 0
    return 0 if image is None else 1 if image.ndim == 2 else int(image.shape[2])


def _opens_by_pil(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except Exception:  # see verify_image
        return False
    return True


def why_unusable(file: Path) -> str:
    """Why an image without labels cannot be used; empty when it can.

    Raises:
        InputError: a pipe or a device.
    """
    verdict = verify_image(file)
    if verdict.stops or verdict.rewritten:
        return "" if decodes(file) else "does not decode"
    return verdict.left_out
