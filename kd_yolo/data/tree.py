"""Walks a data set's folders as ultralytics does, links followed, but never without end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kd_yolo.base.errors import InputError

MAX_FOLDERS = 100_000


def walk_folders(top: Path) -> Iterator[Path]:
    """``top`` and all folders below it, linked ones too, hidden ones not, as ``glob`` with ``**`` finds them.

    Raises:
        InputError: a link leads back to a folder that it is in (ultralytics would read every image forty times, or
            never end), or there are more than ``MAX_FOLDERS``.
    """
    count = 0
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(top, ())]
    while waiting:
        folder, above = waiting.pop()
        count += 1
        if count > MAX_FOLDERS:
            raise InputError(f"{top} has more than {MAX_FOLDERS} folders, counting linked ones: name the images' own.")
        try:
            status = folder.stat()
            own = (status.st_dev, status.st_ino)
            if own in above:
                raise InputError(f"{folder} is a link back to a folder that it is in: remove it.")
            inner = sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())
        except OSError as error:
            if folder == top:
                raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from None
            continue  # as glob does
        yield folder
        waiting += [(folder / name, (*above, own)) for name in reversed(inner)]


def files_below(top: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """What has one of these suffixes below ``top`` and is not hidden: files, broken links, even folders, as ``glob``.

    Raises:
        InputError: see :func:`walk_folders`.
    """
    for folder in walk_folders(top):
        for entry in os.scandir(folder):
            dot = entry.name.rfind(".")
            if dot > 0 and entry.name[0] != "." and entry.name[dot:].lower() in suffixes:
                yield folder / entry.name


def check_files(top: Path) -> None:
    """Refuses pipes, sockets and devices below a folder: who opens one waits for ever.

    Raises:
        InputError: there is one; see :func:`walk_folders`.
    """
    for folder in walk_folders(top):
        for entry in os.scandir(folder):
            if not entry.is_file() and not entry.is_dir():
                check_waits(folder / entry.name)


def check_waits(file: Path) -> None:
    """Refuses a path whose opening may never return; one that does not exist passes.

    Raises:
        InputError: a pipe, a socket or a device.
    """
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{file} is a pipe or a device, not a file: remove it, reading it would never end.")
