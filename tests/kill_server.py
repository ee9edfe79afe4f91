"""Runs commands in forked processes that are killed before a chosen write to the disk."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate"}


def run_command(words: Sequence[str], folder: Path, *, kill_at: int | None = None) -> tuple[int, int, str]:
    """Runs ``kd-yolo`` in a fork of this process, in which torch and ultralytics are imported already.

    Args:
        words: the command line.
        folder: where it runs; its writes below it are counted.
        kill_at: the process is killed (``SIGKILL``) before this write, counted from 1; None lets it end.

    Returns:
        Exit code (-9 when killed), writes, and what was printed.
    """
    log = folder / ".." / f"{folder.name}.log"
    child = os.fork()
    if child == 0:
        _run(words, folder, log, kill_at)
    _, status = os.waitpid(child, 0)
    text = log.read_text(errors="replace")
    count = text.rpartition("writes: ")[2].strip()
    return os.waitstatus_to_exitcode(status), int(count) if count.isdigit() else 0, text


def _run(words: Sequence[str], folder: Path, log: Path, kill_at: int | None) -> None:
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - pytest's own capture ends with the parent
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        counter = Counter(str(folder.resolve()), kill_at)
        sys.addaudithook(counter.see)
        from kd_yolo.cli.app import main

        code = main(list(words))
        counter.kill_at = None
        sys.stderr.write(f"\nwrites: {counter.count}\n")
        sys.stderr.flush()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


class Counter:
    """Counts what a process writes below a folder, and ends it before a given write."""

    def __init__(self, folder: str, kill_at: int | None) -> None:
        self.folder, self.kill_at, self.count = folder, kill_at, 0

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if not self._is_write(event, arguments):
            return
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_write(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, flags = arguments
            if not (flags & WRITES) and not (isinstance(mode, str) and set(mode) & set("wax+")):
                return False
        elif event in EVENTS:
            path = arguments[0]
        else:
            return False
        if isinstance(path, int):
            return False
        text = os.path.join(os.getcwd(), os.fsdecode(path))  # noqa: PTH109, PTH118 - Path would raise events of its own
        return text.startswith(self.folder)
