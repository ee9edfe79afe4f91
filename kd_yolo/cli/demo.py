"""``kd-yolo demo`` / ``make demo``: the main job on built-in data, from scratch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kd_yolo.cli.about import About
from kd_yolo.cli.closing import print_network, print_next, print_results, say, shell_path
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.run import parse_flags, run_guarded

ABOUT = About(
    """Draws easy images and trains a teacher on them. With the labels of a few of these images it then trains the same
    small student alone and under the teacher, and what is left of the teacher after pruning alone and under it.

    Offline, from random weights, in minutes. What is trained without a teacher is trained for as many epochs and, in
    a row of its own, for as long as the distilled network took. Exit code 1 when distillation was no gain. The same
    command goes on where an interrupted one stopped.""",
    "kd-yolo demo --seed 1",
)


class DemoFlags(Flags):
    """Flags of ``kd-yolo demo``."""

    epochs: int = 6
    """Epochs of the student, each twenty times through its labelled images."""
    seed: int = 0
    """Seed of the images, the starting weights and the order of the images."""
    device: str = "cpu"
    """cpu, or a GPU's number."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo demo") -> int:
    """Runs the command and returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    flags = parse_flags(DemoFlags, words, prog=prog, description=ABOUT)
    return run_guarded(lambda: _run(flags))


def _run(flags: DemoFlags) -> None:
    from rich.console import Console

    from kd_yolo.pipeline.demo import closing
    from kd_yolo.pipeline.demo.train import Demo, DemoPlan
    from kd_yolo.report.comparison import print_whole
    from kd_yolo.training.eta import duration

    start = time.monotonic()
    plan = DemoPlan(student=flags.epochs, seed=flags.seed, device=flags.device)
    folder = Path("runs/demo").resolve() / f"epochs{flags.epochs}-seed{flags.seed}"
    demo = Demo(folder, plan, lambda text: print(text, end="", flush=True))
    try:
        trained = demo.train()
    except KeyboardInterrupt:
        say("\nthe same command goes on from here")
        raise
    measured = closing.measure(demo, say)
    gains = closing.keep(demo, trained, measured)
    closing.draw(demo)
    print_whole(closing.closing_table(trained, measured), Console(highlight=False))
    print_results(folder, (closing.IMAGE, "demo.json"))
    print_network(folder / "distilled.pt", label="student")
    say(f"demo done in {duration(time.monotonic() - start)}")
    for line in closing.verdict(gains):
        say(line)
    print_next(f"yolo val model={shell_path(folder / 'distilled.pt')} data={shell_path(demo.data)} imgsz={plan.imgsz}")
