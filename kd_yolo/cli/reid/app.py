"""``kd-yolo reid``: train, distil, test, export, prune and rank with person re-identification networks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from kd_yolo.cli.about import About
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.reid import export, test, train
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides

Run = Callable[[Any, list[str]], None]
# name: (what it does, what its help says, its flags, the work)
COMMANDS: dict[str, tuple[str, About, type[Flags], Run]] = {
    "train": ("train a network", train.ABOUT, train.Train, train.run_train),
    "distill": ("train a network under a larger one", train.ABOUT_DISTILL, train.Train, train.run_distill),
    "test": ("measure a network on query and gallery: CMC, mAP, mINP", test.ABOUT, test.Test, test.run_test),
    "rank": ("rank the gallery for one crop", test.ABOUT_RANK, test.Rank, test.run_rank),
    "export": ("ONNX, TorchScript or OpenVINO, and a tracker YAML", export.ABOUT, export.Export, export.run_export),
    "prune": ("remove channels of a network", export.ABOUT_PRUNE, export.Prune, export.run_prune),
}


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo reid") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        lines = "\n".join(f"  {name:8} {text}" for name, (text, *_) in COMMANDS.items())
        print(f"usage: {prog} <{'|'.join(COMMANDS)}> [flags] [key=value]\n\n{lines}")
        print(f"\n{prog} <command> --help says more.")
        return 0 if words and words[0] in {"-h", "--help"} else 2
    _, about, kind, run = COMMANDS[words[0]]
    given, pairs = split_overrides(words[1:])
    flags = parse_flags(kind, given, prog=f"{prog} {words[0]}", description=about, pairs=pairs)
    return run_guarded(lambda: run(flags, pairs), detector=False)
