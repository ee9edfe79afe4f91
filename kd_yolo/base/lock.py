"""Locks between processes; the system frees them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.base.reading import regular_file

LOCK = ".lock"
POLL_S = 0.05
WAIT_S = 3600.0
ORPHANS_S = 10.0  # data loading workers of a killed process hold its lock until they notice, about 5 s later


def acquire(handle: int, *, exclusive: bool, wait_s: float) -> bool:
    """Locks an open file, waiting for other processes.

    Args:
        handle: file descriptor.
        exclusive: to write; readers share the lock.
        wait_s: how long to wait in seconds.

    Returns:
        Whether the lock is held now.
    """
    end = time.monotonic() + wait_s
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            return True
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)


@contextmanager
def holding(folder: Path, what: str = "run") -> Iterator[None]:
    """Holds a folder, so that no other process works in it; the file ``.lock`` in it is gone afterwards.

    What a killed process left does not block: the lock is the system's, the file only says who holds it.

    Args:
        folder: is made when it is missing.
        what: is in the folder, for the message.

    Raises:
        ConfigError: another process holds it; says which one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    handle = _lock(file, what)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        file.unlink(missing_ok=True)  # before the lock is let go: whoever waits for this file sees that it is gone
        os.close(handle)


@contextmanager
def locked(folder: Path, *, exclusive: bool, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the lock of a folder of data, waiting for other processes; its file stays.

    Args:
        folder: a gallery, a folder of crops.
        exclusive: to write; readers share it.
        wait_s: how long to wait for another process.

    Raises:
        KDYoloError: another process did not let go of it.
    """
    file = folder / LOCK
    if not exclusive and not file.exists():  # a copy, perhaps where nothing can be written
        yield
        return
    if file.exists():
        regular_file(file, "lock")
    handle = os.open(file, os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY, 0o644)
    try:
        if not acquire(handle, exclusive=exclusive, wait_s=wait_s):
            raise KDYoloError(f"another process has been writing to {folder} for {wait_s:g} s: wait for it or end it.")
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder now."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not acquire(handle, exclusive=False, wait_s=0)
    finally:
        os.close(handle)


def _lock(file: Path, what: str) -> int:
    end = time.monotonic() + ORPHANS_S
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        if acquire(handle, exclusive=True, wait_s=0):
            if _is_still(handle, file):
                return handle
            os.close(handle)  # the one before us removed it meanwhile: lock the new one
            continue
        owner = _owner(handle)
        os.close(handle)
        if is_alive(owner) or time.monotonic() > end:
            raise ConfigError(
                f"process {owner or 'unknown'} is working on the {what} in {file.parent}: wait until it has finished,"
                " end it, or use another name."
            )
        time.sleep(POLL_S)


def _is_still(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _owner(handle: int) -> int:
    text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isascii() and text.isdigit() else 0


def is_alive(process: int) -> bool:
    """Whether a process of that number runs on this machine."""
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
