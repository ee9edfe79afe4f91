"""What a training costs: seconds, CPU seconds and memory of its epochs, noted in the run's folder."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ultralytics.utils.callbacks.base import default_callbacks

from kd_yolo.base.files import write_bytes

USAGE = "usage.json"
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Usage:
    """What the full epochs of a run have cost so far, those of earlier processes included.

    Attributes:
        seconds: wall time.
        cpu_seconds: of all threads of the training process; workers that load images are not in it.
        peak_mib: most memory that a process of the run held.
        cuda_peak_mib: most GPU memory that its tensors held; None on the CPU.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0
    cuda_peak_mib: float | None = None

    def add(self, other: Usage) -> Usage:
        """Both together: times add up, of peaks the higher one counts."""
        gpu = [peak for peak in (self.cuda_peak_mib, other.cuda_peak_mib) if peak is not None]
        return Usage(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_mib, other.peak_mib),
            max(gpu, default=None),
        )


def read_usage(folder: Path) -> Usage:
    """What a run has cost; nothing when its folder does not say."""
    file = folder / USAGE
    return Usage(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Usage()


@contextlib.contextmanager
def noting_usage() -> Iterator[None]:
    """Inside, every training writes ``usage.json`` into its folder after each epoch, whatever its trainer is.

    Reading the data and the evaluation at the end are not counted. A resumed run adds to what is in its folder.
    """
    start, after_epoch = _callbacks()
    added = {"on_train_start": start, "on_fit_epoch_end": after_epoch}
    for event, callback in added.items():
        default_callbacks[event].append(callback)
    try:
        yield
    finally:
        for event, callback in added.items():
            default_callbacks[event].remove(callback)


def _callbacks() -> tuple[Callable[[Any], None], Callable[[Any], None]]:
    """Callbacks for the start of a training and the end of an epoch."""
    state: dict[str, Any] = {}

    def start(trainer: Any) -> None:
        if trainer.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.device)
        before = read_usage(Path(trainer.save_dir))
        state.update(before=before, wall=time.perf_counter(), cpu=time.process_time(), epoch=None)

    def after_epoch(trainer: Any) -> None:
        if "wall" not in state:  # a run that was killed at its end: there was no epoch left to note
            return
        if state.get("epoch") == trainer.epoch:  # upstream says so once more after the evaluation at the end
            return
        state["epoch"] = trainer.epoch
        is_cuda = trainer.device.type == "cuda"
        own = Usage(
            time.perf_counter() - state["wall"],
            time.process_time() - state["cpu"],
            peak_mib(),
            torch.cuda.max_memory_allocated(trainer.device) / 2**20 if is_cuda else None,
        )
        _write(Path(trainer.save_dir) / USAGE, state["before"].add(own))

    return start, after_epoch


def peak_mib() -> float:
    """Most memory that this process ever held.

    Linux hands ``ru_maxrss`` on to a process that another one starts: there it is at least the peak of the parent.
    """
    if STATUS.is_file():
        fields = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _write(path: Path, usage: Usage) -> None:
    write_bytes(path, (json.dumps(asdict(usage)) + "\n").encode())
