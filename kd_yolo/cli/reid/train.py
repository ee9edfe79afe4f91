"""``kd-yolo reid train`` and ``distill``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.closing import print_network, print_next, print_results, say, shell_path
from kd_yolo.cli.reid.flags import Test, Train
from kd_yolo.cli.reid.pairs import parse_pairs, with_data
from kd_yolo.cli.reid.test import run_test
from kd_yolo.reid.rules import answer_elsewhere

if TYPE_CHECKING:
    from kd_yolo.reid.settings import ReIDConfig


def run_train(flags: Train, pairs: list[str]) -> None:
    """Trains, resumes, or tests only."""
    from kd_yolo.base.places import reserved
    from kd_yolo.reid.train.run import resume, train

    if flags.resume:
        _refuse(flags)
        changes = parse_pairs(pairs)
        best = _interruptible(lambda: resume(Path(str(flags.resume)), say, changes), flags.resume)
        _finish_training(best)
        return
    if flags.eval_only:
        _eval_only(flags, pairs)
        return
    config = _settings(flags, pairs)
    first = Path("runs/reid") / (flags.name or _stem(flags.recipe) or config.network.backbone)
    start = None if flags.start is None else str(flags.start)
    # of processes that train together, the first one alone writes
    with reserved(first) if os.environ.get("RANK", "0") == "0" else nullcontext(first) as folder:
        last = folder / "weights" / "last.pt"
        _finish_training(_interruptible(lambda: train(config, folder, say, start=start), last))


def _eval_only(flags: Train, pairs: list[str]) -> None:
    if flags.start is None:
        raise ConfigError("--eval-only tests the checkpoint given by --start: add --start best.pt.")
    given = _given(flags, "eval_only", "start", "name")
    if given:
        raise ConfigError(f"--eval-only tests a network as it was trained: leave out {', '.join(given)}.")
    run_test(Test(flags.start, name=flags.name), pairs)


def _given(flags: Train, *allowed: str) -> list[str]:
    """Flags that were typed, but for those allowed."""
    default = Train()
    typed = [key for key, value in vars(flags).items() if value != getattr(default, key) and key not in allowed]
    return [f"--{key.replace('_', '-')}" for key in typed]


def _refuse(flags: Train) -> None:
    given = _given(flags, "resume")
    if given:
        raise ConfigError(f"--resume continues a run as it was started: leave out {', '.join(given)}.")


def _interruptible(work: Callable[[], Path], last: Path) -> Path:
    try:
        return work()
    except KeyboardInterrupt:
        if last.is_file():
            print(f"\nthe last whole epoch is kept; continue with: kd-yolo reid train --resume {last}", file=sys.stderr)
        raise


def _settings(flags: Train, pairs: list[str]) -> ReIDConfig:
    from kd_yolo.reid.resolve import resolve_reid

    changes = parse_pairs(pairs)
    if "batch" in changes:
        raise ConfigError(f"unknown key 'batch'.{answer_elsewhere('batch')}")
    own = {
        "distill.teacher": list(flags.teacher) or None,
        "self_kd.enabled": flags.kd or None,
        "self_kd.teacher_stage": flags.teacher_stage,
        "self_kd.student_stages": list(flags.student_stages) or None,
        "self_kd.feature_weight": flags.feature_loss_coefficient,
    }
    return with_data(resolve_reid(flags.recipe, {**changes, **{key: x for key, x in own.items() if x is not None}}))


def _stem(recipe: str | None) -> str | None:
    return None if recipe is None else Path(recipe).stem


def _finish_training(best: Path) -> None:
    print_results(best.parents[1], ("results.csv", "results.png", "metrics.json"))
    print_network(best, plain=False)
    print_next(f"kd-yolo reid test --weights {shell_path(best)} data=...")
