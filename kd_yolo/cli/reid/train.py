"""``kd-yolo reid train`` and ``distill``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, setting_keys
from kd_yolo.cli.closing import print_network, print_next, print_results, say, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given, typed_flags
from kd_yolo.cli.reid.pairs import parse_pairs, with_data
from kd_yolo.cli.reid.test import Test, run_test
from kd_yolo.reid.settings import ReIDConfig, SelfKDSettings, TeacherSettings

SELF_KD = {"enabled": "kd", "feature_weight": "feature_loss_coefficient"}


ABOUT = About(
    """Trains a ReID network: a recipe, changed by flags and key=value settings.

    Without data= the built-in crops are used, without --recipe the defaults below. The part of a key before the dot
    may be left out where one section only has it: epochs=60.""",
    "kd-yolo reid train --recipe strong_baseline data=my/market epochs=120",
    lambda: setting_keys(ReIDConfig),
)
ABOUT_DISTILL = About(
    """Trains a ReID network under trained ones (--teacher).

    Without data= the built-in crops are used, without --recipe the defaults below. The part of a key before the dot
    may be left out where one section only has it: epochs=60.""",
    "kd-yolo reid distill --teacher best.pt data=my/market backbone=resnet18",
    lambda: setting_keys(ReIDConfig),
)


class Train(Flags):
    """Flags of ``train`` and ``distill``."""

    recipe: str | None = None
    """Name of a recipe in cfg/reid (strong_baseline, sbs, aligned, self_kd, demo, ...) or path of a YAML."""
    distill: Annotated[Given, FlagsOf(TeacherSettings, ("teacher",))]
    self_kd: Annotated[
        Given, FlagsOf(SelfKDSettings, ("enabled", "teacher_stage", "student_stages", "feature_weight"), SELF_KD)
    ]
    start: Path | None = None
    """Start from this checkpoint, for example a pruned one; height=, width=, head=, ... may differ from its own."""
    resume: Path | None = None
    """Resume an interrupted run from its weights/last.pt, with its settings."""
    eval_only: bool = False
    """Test the checkpoint given by --start without training."""
    name: str | None = None
    """Name of the run's folder in runs/reid (default: the name of the recipe, the checkpoint or the backbone)."""


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
    first = Path("runs/reid") / (flags.name or _stem(flags.recipe) or _stem(flags.start) or config.network.backbone)
    start = None if flags.start is None else str(flags.start)
    # of processes that train together, the first one alone writes
    with reserved(first) if os.environ.get("RANK", "0") == "0" else nullcontext(first) as folder:
        last = folder / "weights" / "last.pt"
        _finish_training(_interruptible(lambda: train(config, folder, say, start=start), last))


def run_distill(flags: Train, pairs: list[str]) -> None:
    """Trains under a teacher, which has to be named; a resumed run has its own."""
    if not (flags.distill or flags.resume):
        raise ConfigError(
            "--teacher is missing: a checkpoint of kd-yolo reid train (runs/reid/resnet50/weights/best.pt)."
        )
    run_train(flags, pairs)


def _eval_only(flags: Train, pairs: list[str]) -> None:
    if flags.start is None:
        raise ConfigError("--eval-only tests the checkpoint given by --start: add --start best.pt.")
    given = _typed(flags, "--eval-only", "--start", "--name")
    if given:
        raise ConfigError(f"--eval-only tests a network as it was trained: leave out {', '.join(given)}.")
    run_test(
        Test.parse({"weights": flags.start, **({"name": flags.name} if flags.name else {})}, "kd-yolo reid test"), pairs
    )


def _typed(flags: Train, *allowed: str) -> list[str]:
    """Flags that were typed, except those allowed."""
    return [flag for flag in typed_flags(flags) if flag not in allowed]


def _refuse(flags: Train) -> None:
    given = _typed(flags, "--resume")
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

    sections: dict[str, Given] = {"distill": flags.distill, "self_kd": flags.self_kd}
    own = {f"{section}.{key}": value for section, given in sections.items() for key, value in given.items()}
    return with_data(resolve_reid(flags.recipe, {**parse_pairs(pairs), **own}))


def _stem(path: str | Path | None) -> str | None:
    return None if path is None else Path(path).stem


def _finish_training(best: Path) -> None:
    print_results(best.parents[1], ("results.csv", "results.png", "metrics.json"))
    print_network(best, plain=False)
    print_next(f"kd-yolo reid test --weights {shell_path(best)} data=...")
