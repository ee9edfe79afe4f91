"""``kd-yolo <command>``: a command is a line of the table and a module with ``main(argv, prog)``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import load_plugin, nearest, package_of, plugins

GROUP = "kd_yolo.commands"  # entry points of installed packages, which add commands
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
        print("\n".join(f"  {name:9} {text}" for name, text in _texts().items()))
        print("\nkd-yolo <command> --help says more.")
        return 0 if words else 2
    try:
        command = _find(words[0])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return int(command(words[1:], prog=f"kd-yolo {words[0]}"))


def _texts() -> dict[str, str]:
    """A line on each command; nothing of an installed package is imported."""
    texts = {name: text for name, (_, text) in COMMANDS.items()}
    for name, entry in plugins(GROUP).items():
        texts.setdefault(name, f"from the package {package_of(entry)}")
    return texts


def _find(name: str) -> Callable[..., Any]:
    """The function that runs a command.

    Raises:
        ConfigError: no such command, or an installed package offers it and cannot be loaded.
    """
    if name not in COMMANDS:
        added = plugins(GROUP)
        if name not in added:
            from kd_yolo.cli.foreign import COMMANDS as FOREIGN  # importing it costs a moment, which --help saves

            known = [*COMMANDS, *added]
            hint = f" {FOREIGN[name]}." if name in FOREIGN else nearest(name[:100], known)
            raise ConfigError(f"unknown command '{name[:100]}'.{hint} Known: {', '.join(known)}.")
        return load_plugin(added[name])  # type: ignore[no-any-return]
    module, _, function = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(module), function or "main")  # type: ignore[no-any-return]


def entry() -> None:
    """The console script."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # kd-yolo --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    entry()
