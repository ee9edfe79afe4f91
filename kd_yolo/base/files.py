"""Files are written beside and renamed: under the final name there is a whole file or the previous one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_yolo.base.errors import KDYoloError


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
    part = target.with_name(f".{target.name}.{os.getpid()}.part{target.suffix}")
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
