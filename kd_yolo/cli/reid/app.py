"""``kd-yolo reid``: train, distil, test, export, prune and rank with person re-identification networks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.reid.export import run_export, run_prune
from kd_yolo.cli.reid.flags import DESCRIPTIONS, KEYS, Export, Prune, Rank, Test, Train
from kd_yolo.cli.reid.test import run_rank, run_test
from kd_yolo.cli.reid.train import run_train
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.reid.rules import answer_elsewhere

COMMANDS: dict[str, tuple[type[Any], Callable[[Any, list[str]], None]]] = {
    "train": (Train, run_train),
    "distill": (Train, run_train),
    "test": (Test, run_test),
    "rank": (Rank, run_rank),
    "export": (Export, run_export),
    "prune": (Prune, run_prune),
}


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo reid") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        lines = "\n".join(f"  {name:8} {text}" for name, text in DESCRIPTIONS.items())
        print(f"usage: {prog} <{'|'.join(COMMANDS)}> [flags] [key=value]\n\n{lines}\n\n{KEYS}")
        return 0 if words and words[0] in {"-h", "--help"} else 2
    name = words[0]
    kind, run = COMMANDS[name]
    strange = [word for word in words[1:] if word.startswith("--") and answer_elsewhere(word.partition("=")[0])]
    own = {f"--{field.name}".replace("_", "-") for field in fields(kind)}
    strange = [word for word in strange if word.partition("=")[0].replace("_", "-") not in own]
    if strange:
        return run_guarded(lambda: _refuse_elsewhere(strange), detector=False)
    given, pairs = split_overrides(words[1:])
    flags = parse_flags(kind, given, prog=f"{prog} {name}", description=f"{DESCRIPTIONS[name]} {KEYS}", pairs=pairs)
    if name == "distill" and not (flags.teacher or flags.resume):
        return run_guarded(_no_teacher, detector=False)
    return run_guarded(lambda: run(flags, pairs), detector=False)


def _refuse_elsewhere(words: list[str]) -> None:
    names = [word.partition("=")[0] for word in words]
    raise ConfigError("\n  ".join(f"{name} is not a flag here.{answer_elsewhere(name)}" for name in names))


def _no_teacher() -> None:
    raise ConfigError("--teacher is missing: a checkpoint of kd-yolo reid train (runs/reid/resnet50/weights/best.pt).")
