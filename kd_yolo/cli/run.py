"""Runs a command: parses its flags, maps what goes wrong to a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from kd_yolo.errors import EXIT_INTERRUPTED, KDYoloError

F = TypeVar("F")
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


def parse_flags(flags_type: type[F], argv: Sequence[str], *, prog: str, description: str) -> F:
    """Parses flags with tyro; unknown flags end the process with exit code 2 and the nearest spelling."""
    return tyro.cli(flags_type, args=list(argv), prog=prog, description=description)


def run_guarded(command: Callable[[], None]) -> int:
    """Runs a command and returns its exit code; every failure is one message on standard error."""
    try:
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
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", 1)


def _fail_os(error: OSError) -> int:
    if error.errno in FULL:
        return _fail(f"the disk is full: {error}. Make room; finished checkpoints are unharmed.", 1)
    if error.errno in DENIED:
        return _fail(f"not writable: {error}. Choose another folder with project=path.", 3)
    traceback.print_exc()
    return _fail(str(error), 1)


def _fail(message: str, code: int) -> int:
    print(f"\nerror: {message}", file=sys.stderr)
    return code
