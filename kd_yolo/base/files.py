"""Files are written beside and renamed: under the final name there is a whole file or the previous one.

A test holds that nothing else in the package renames or syncs files, and which modules write in place, and why.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import KDYoloError


def unfinished(target: Path, kind: str) -> Path:
    """What ``target`` is called until it is complete: beside it, with the number of this process and the kind."""
    return target.with_name(f".{target.name}.{os.getpid()}.{kind}")


@contextmanager
def written_beside(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """A path to write to; what is there when the block ends well becomes ``path``, after a crash nothing does.

    Args:
        path: final name; missing folders are made, a link stays a link.
        sync: whole even when the machine, not only the process, dies; off for many small files that can be made again.

    Yields:
        A path in the same folder, with the same suffix (libraries choose the format by it).

    Raises:
        KDYoloError: the file could not be written (disk full, no permission); a previous file is still whole.
    """
    target = Path(path).resolve()
    part = unfinished(target, f"part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if sync:
            with part.open("rb") as stream:
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


def write_bytes(path: str | Path, content: bytes | memoryview, *, sync: bool = True) -> Path:
    """Writes a file, see :func:`written_beside`.

    Returns:
        The path.
    """
    with written_beside(path, sync=sync) as part:
        part.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a UTF-8 text file, see :func:`written_beside`."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> Path:
    """Writes a value as indented JSON with a line end, see :func:`written_beside`."""
    return write_text(path, json.dumps(value, indent=1) + "\n")


def write_image(path: str | Path, image_bgr: Any, *, jpeg_quality: int = 95, sync: bool = True) -> Path:
    """Writes an image (H, W, 3) uint8 in BGR, see :func:`written_beside`.

    Args:
        path: the file; its suffix says the format.
        image_bgr: with at least one pixel.
        jpeg_quality: of a JPEG, to 100.
        sync: see there.
    """
    import cv2  # importing it costs 0.2 s
    import numpy as np

    suffix = Path(path).suffix.lower()
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix in {".jpg", ".jpeg"} else []
    )  # OpenCV 5 warns of others
    is_done, data = cv2.imencode(suffix, np.ascontiguousarray(image_bgr), options)
    assert is_done, f"an image of shape {image_bgr.shape} is encoded as {path}"
    return write_bytes(path, data.data, sync=sync)
