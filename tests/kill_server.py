"""Runs commands in forked processes that are killed before a chosen write to the disk."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate"}


def run_command(
    words: Sequence[str], folder: Path, *, kill_at: int | None = None, stand_ins: Mapping[str, str] | None = None
) -> tuple[int, int, str]:
    """Runs ``kd-yolo`` in a fork of a process in which torch and ultralytics are imported already.

    That process is not the one of the tests: threads of theirs (polars') would be missing in the fork, which then waits
    for them for ever.

    Args:
        words: the command line.
        folder: where it runs; its writes below it are counted.
        kill_at: the process is killed (``SIGKILL``) before this write, counted from 1; None lets it end.
        stand_ins: what takes the place of what, both as ``module:name``.

    Returns:
        Exit code (-9 when killed), writes, and what was printed.
    """
    log = folder / ".." / f"{folder.name}.log"
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(
        json.dumps([list(words), str(folder), str(log), kill_at, dict(os.environ), dict(stand_ins or {})]) + "\n"
    )
    server.stdin.flush()
    status = int(server.stdout.readline())
    text = log.read_text(errors="replace")
    count = text.rpartition("writes: ")[2].strip()
    return os.waitstatus_to_exitcode(status), int(count) if count.isdigit() else 0, text


@cache
def _server() -> subprocess.Popen[str]:
    """Ends with the process that started it, when its input does."""
    command = [sys.executable, "-m", "tests.kill_server"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _serve() -> None:
    import kd_yolo.distill.job
    import kd_yolo.pipeline.model
    import kd_yolo.reid.train.run  # noqa: F401 - for every fork

    for line in sys.stdin:
        words, folder, log, kill_at, environment, stand_ins = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ.clear()
            os.environ.update(environment)
            for old, new in stand_ins.items():
                setattr(import_module(old.partition(":")[0]), old.partition(":")[2], pkgutil.resolve_name(new))
            _run(words, Path(folder), Path(log), kill_at)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


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


if __name__ == "__main__":
    _serve()
