"""Starts the process of a run and waits for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from kd_yolo.base.errors import EXIT_INTERRUPTED
from kd_yolo.base.places import ROOT, is_checkout
from kd_yolo.league.job import Job
from kd_yolo.league.worker import ERROR_FILE


def launch(job: Job) -> str | None:
    """Does a job in a process of its own.

    Returns:
        None when it is done, else why it failed.

    Raises:
        KeyboardInterrupt: Ctrl-C, here or there; the run has saved its last full epoch.
    """
    checkout = [str(ROOT)] if is_checkout() else []  # it need not be installed
    paths = os.pathsep.join([*checkout, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "kd_yolo.league.worker"],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C comes from here, once
    )
    code = _wait(process, job)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return _reason(job, code) if code else None


def _wait(process: subprocess.Popen[bytes], job: Job) -> int:
    """Hands the job over and waits; a second Ctrl-C ends the process at once."""
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it ended before it read: its exit code says so
            process.stdin.write(job.model_dump_json().encode() + b"\n")
            process.stdin.flush()
        return process.wait()
    except KeyboardInterrupt:
        process.stdin.close()
        process.wait()
        raise
    finally:
        process.kill()
        process.wait()


def _reason(job: Job, code: int) -> str:
    """Why a run failed: what it wrote, or how its process ended."""
    file = job.folder / ERROR_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    if code < 0:
        return f"its process was ended by signal {-code}{' (out of memory?)' if code == -9 else ''}"
    return f"its process ended with exit code {code}"
