"""``kd-yolo <command>``."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "distill": ("kd_yolo.cli.distill", "train a student under a frozen teacher"),
    "sparse": ("kd_yolo.cli.train:sparse", "train so that a share of the channels can go"),
    "prune": ("kd_yolo.cli.prune", "remove channels: a smaller, faster network"),
    "retrain": ("kd_yolo.cli.train:retrain", "train a pruned network with the widths that it has"),
    "pipeline": ("kd_yolo.cli.pipeline", "a whole chain from a recipe, resumable"),
    "league": ("kd_yolo.cli.league", "which loss is best on your data: the same student under each"),
    "compare": ("kd_yolo.cli.compare", "size, accuracy and latency of any weights in one table"),
    "reid": ("kd_yolo.cli.reid.app", "person re-identification: train, distil, test, export, prune, rank"),
    "crops": ("kd_yolo.cli.crops", "cut the people out of images, videos and streams"),
    "search": ("kd_yolo.cli.search.app", "find a person again: gallery, tracks, page"),
    "data": ("kd_yolo.cli.data", "make the built-in data set, check one of yours"),
    "demo": ("kd_yolo.cli.demo", "the main job on built-in data, from scratch, in minutes"),
    "doctor": ("kd_yolo.cli.doctor", "versions, threads, devices, extras, a tiny forward pass"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``kd-yolo <command> ...`` and returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help", "help"}:
        print("usage: kd-yolo <command> [flags] [key=value]\n")
        print("\n".join(f"  {name:9} {text}" for name, (_, text) in COMMANDS.items()))
        print("\nkd-yolo <command> --help says more.")
        return 0 if words else 2
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        print(f"error: unknown command '{words[0]}'.{hint} Known: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    module, _, function = COMMANDS[words[0]][0].partition(":")
    command = getattr(importlib.import_module(module), function or "main")
    return int(command(words[1:], prog=f"kd-yolo {words[0]}"))


def entry() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
