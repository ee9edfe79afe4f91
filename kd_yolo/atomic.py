"""Files are written beside and renamed: under the final name there is a whole file or the previous one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from kd_yolo.errors import KDYoloError


def write_atomically(path: Path, data: bytes | memoryview) -> Path:
    """Writes a file that survives a crash; missing folders are made.

    Args:
        path: final name; a link stays a link.
        data: the whole content.

    Returns:
        The path.

    Raises:
        KDYoloError: the file could not be written (disk full, no permission); a previous file is still whole.
    """
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
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
    return path
