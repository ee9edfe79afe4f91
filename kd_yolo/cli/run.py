"""Runs a command: parses its flags, maps what goes wrong to a message and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from kd_yolo.base.environment import guard_environment
from kd_yolo.base.errors import EXIT_INTERRUPTED, KDYoloError
from kd_yolo.cli.about import About
from kd_yolo.cli.flags import Flags, parse
from kd_yolo.cli.foreign import explain

F = TypeVar("F", bound=Flags)
FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates our flags from ``key=value`` and ``section.key=value`` words that are nobody's flag value."""
    flags: list[str] = []
    pairs: list[str] = []
    for word in argv:
        parts = word.partition("=")[0].split(".")
        (pairs if "=" in word and all(part.isidentifier() for part in parts) else flags).append(word)
    return flags, pairs


def parse_flags(
    flags_type: type[F], argv: Sequence[str], *, prog: str, description: About, pairs: Sequence[str] = ()
) -> F:
    """Parses flags; what is wrong with them ends the process with exit code 2 and the nearest spelling.

    Words of other tools (:mod:`kd_yolo.cli.foreign`), among the ``key=value`` words ``pairs`` too, are answered with
    ours.
    """
    lines = explain(prog, flags_type, argv, pairs, description.keys() if description.keys else ())
    if lines and not {"-h", "--help"} & set(argv):
        sys.exit(_fail("\n  ".join([f"{prog} does not know these words:", *lines]), 2))
    try:
        return parse(flags_type, argv, prog, description)
    except KDYoloError as error:
        sys.exit(_fail(str(error), error.exit_code))


def run_guarded(command: Callable[[], None], *, detector: bool = True) -> int:
    """Runs a command and returns its exit code; every failure is one message on standard error.

    The process is prepared first (:mod:`kd_yolo.base.environment`, :func:`kd_yolo.yolo.guard.prepare_process`), so
    that no command can forget it.

    Args:
        command: the work.
        detector: the command uses ultralytics; without, it is not imported.
    """
    guard_environment()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names that are no text are printed all the same
    try:
        if detector:
            _prepare_detector()
        command()
        return 0
    except KDYoloError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail_os(error)
    except Exception as error:
        return _fail_unforeseen(error)


def _prepare_detector() -> None:
    from kd_yolo.yolo.guard import check_ultralytics, prepare_process

    prepare_process()
    check_ultralytics()


def _fail_os(error: OSError) -> int:
    if error.errno in FULL:
        return _fail(f"the disk is full: {error}. Make room; finished checkpoints are unharmed.", 1)
    if error.errno in DENIED:
        return _fail(f"no access: {error}. Choose another file or folder, or change its permissions.", 3)
    return _fail_unforeseen(error)


def _fail_unforeseen(error: Exception) -> int:
    """One line for the user; the traceback goes into a file that the line names."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="kd-yolo-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
        where = f"The traceback is in {file.name}: please report it."
    except OSError:
        traceback.print_exception(error)
        where = "Please report it with the traceback above."
    first = (str(error).strip() or "no message").splitlines()[0][:300]
    return _fail(f"{type(error).__name__}: {first}. This was not foreseen. {where}", 1)


def _fail(message: str, code: int) -> int:
    print(f"\nerror: {message}", file=sys.stderr)
    return code
