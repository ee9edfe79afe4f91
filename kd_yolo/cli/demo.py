"""``kd-yolo demo`` / ``make demo``: the main job on built-in data, from scratch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial

from kd_yolo.cli.about import About
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.run import parse_flags, run_guarded

ABOUT = About(
    """Draws street scenes, trains a small teacher on them, distils a smaller student from it.

    Offline. With yolov8s.pt and yolov8n.pt in weights/ both start from these; without, from scratch, and what two
    minutes of training from scratch give is little: the demo shows that everything works, not how good it gets.""",
    "kd-yolo demo --epochs 3",
)


class DemoFlags(Flags):
    """Flags of ``kd-yolo demo``."""

    epochs: int = 10
    """Epochs of the student."""
    device: str = "cpu"
    """cpu, or a GPU's number."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo demo") -> int:
    """Runs the command and returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    flags = parse_flags(DemoFlags, words, prog=prog, description=ABOUT)
    return run_guarded(lambda: _run(flags))


def _run(flags: DemoFlags) -> None:
    from kd_yolo.builtin.demo import demo_data
    from kd_yolo.cli.distill import finish
    from kd_yolo.distill.demo_student import train_demo_student
    from kd_yolo.training.eta import duration

    start = time.monotonic()
    print("[1/3] street scenes", flush=True)
    data, _ = demo_data(write=True)
    print(f"[2/3] teacher, then [3/3] student: about 4 minutes on 2 cores (data: {data})", flush=True)
    say = partial(print, "[3/3]", flush=True)
    finish(train_demo_student(say, epochs=flags.epochs, device=flags.device))
    print(f"demo done in {duration(time.monotonic() - start)}")
