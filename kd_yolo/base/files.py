"""Files and folders are written beside and renamed: under the final name there is a whole one or the previous one.

A test holds that nothing else in the package renames or syncs files, and which modules write in place, and why.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.base.leftovers import remove_leftovers, unfinished


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


@contextmanager
def folder_beside(path: str | Path) -> Iterator[Path]:
    """A folder to fill; it becomes ``path`` when the block ends well, after a crash nothing does.

    Args:
        path: final name; what is there is replaced. What killed writers of it left is removed.

    Yields:
        An empty folder beside.

    Raises:
        ConfigError: another process uses ``path``; it is unharmed.
    """
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, of=target.name)
    partial = Path(tempfile.mkdtemp(prefix=unfinished(target, "partial-").name, dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        _replace_folder(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_folder(partial: Path, target: Path) -> None:
    """Renames the filled folder to its name; one to be replaced is renamed first and removed afterwards."""
    old = partial.with_name(partial.name.replace(".partial-", ".old-"))
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise ConfigError(f"{target} cannot be replaced ({error}): another process may use it. Try again.") from error
    finally:
        shutil.rmtree(old, ignore_errors=True)
