"""``kd-yolo sparse`` and ``kd-yolo retrain``: the two plain trainings of the pruning chain as commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, argument_keys
from kd_yolo.cli.closing import print_network, print_next, print_results, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.config.options import RunOptions, SparseOptions

SPARSE = About(
    """Sparse training: a share of the BatchNorm gammas becomes exactly zero (proximal L1), for pruning by gamma.

    The result is weights/sparse.pt, the last and sparsest weights, not best.pt. key=value goes to ultralytics.""",
    "kd-yolo sparse --model yolov8n.pt --sparsity 0.5 data=coco8.yaml epochs=50",
    lambda: argument_keys("train", "name", "device", "seed"),
)
RETRAIN = About(
    """Trains a network with the widths that it has: what a pruned network needs after pruning.

    ultralytics' own `yolo train model=pruned.pt` builds the unpruned network again. key=value goes to ultralytics.""",
    "kd-yolo retrain --model runs/prune/yolov8n/weights/pruned.pt data=coco8.yaml epochs=100",
    SPARSE.keys,
)


class TrainFlags(RunOptions, Flags):
    """Flags of ``retrain``."""

    model: str | None = None
    """Weights, or a model YAML to train from scratch."""


class SparseFlags(TrainFlags):
    """Flags of ``sparse``."""

    options: Annotated[Given, FlagsOf(SparseOptions, ("sparsity",))]


def sparse(argv: Sequence[str] | None = None, prog: str = "kd-yolo sparse") -> int:
    """Runs ``kd-yolo sparse`` and returns the exit code."""
    return _main(SparseFlags, argv, prog, SPARSE)


def retrain(argv: Sequence[str] | None = None, prog: str = "kd-yolo retrain") -> int:
    """Runs ``kd-yolo retrain`` and returns the exit code."""
    return _main(TrainFlags, argv, prog, RETRAIN)


def _main(kind: type[TrainFlags], argv: Sequence[str] | None, prog: str, about: About) -> int:
    words, pairs = split_overrides(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(kind, words, prog=prog, description=about, pairs=pairs)
    return run_guarded(lambda: _run(flags, pairs))


def _run(flags: TrainFlags, pairs: list[str]) -> None:
    from kd_yolo.base.places import reserved
    from kd_yolo.prune.sparse.trainer import SPARSE_TRAINERS
    from kd_yolo.training.stage import resume_stage, train_stage
    from kd_yolo.training.trainers import RETRAINERS

    is_sparse = isinstance(flags, SparseFlags)
    trainers = SPARSE_TRAINERS if is_sparse else RETRAINERS
    if flags.resume:
        best = resume_stage(trainers, Path(flags.resume), _changes(flags, pairs), trust=flags.trust_weights)
    else:
        weights, first, arguments = _new_run(flags, pairs, Path("runs/sparse" if is_sparse else "runs/retrain"))
        with reserved(first) as folder:
            best = train_stage(trainers, weights, folder, arguments, trust=flags.trust_weights)
    _finish(best, is_sparse=is_sparse)


def _changes(flags: TrainFlags, pairs: list[str]) -> dict[str, Any]:
    """What a resumed run is to change.

    Raises:
        ConfigError: flags that only a new run takes.
    """
    from kd_yolo.yolo.arguments.check import parse_overrides

    kept = {"resume", "trust_weights", "device", "options"}
    given = [f"--{key}" for key in [*sorted(flags.model_fields_set - kept), *_options(flags)]]
    if given:
        raise ConfigError(f"--resume continues a run as it was started: leave out {', '.join(given)}.")
    device = {} if flags.device is None else {"device": flags.device}
    return {**parse_overrides(pairs, model_flag="--model"), **device}


def _new_run(flags: TrainFlags, pairs: list[str], parent: Path) -> tuple[str, Path, dict[str, Any]]:
    """Weights, wanted folder and arguments of a run that starts."""
    from kd_yolo.base.places import find_weights
    from kd_yolo.builtin.demo import demo_data
    from kd_yolo.training.fit import check_training
    from kd_yolo.yolo.arguments.check import join_flags, parse_overrides

    if flags.model is None:
        raise ConfigError("--model is missing: weights, or a model YAML such as yolov8n.yaml.")
    own = flags.model_dump(include={"device", "seed", "name"})
    arguments = join_flags(parse_overrides(pairs, command="train", model_flag="--model"), own, "train")
    if "data" not in arguments:
        data, defaults = demo_data(write=True)
        arguments = {**defaults, **arguments, "data": data}
        print(f"warning: no data=: the built-in street scenes, {data}")
    weights = find_weights(flags.model)
    check_training(weights, arguments, trust=flags.trust_weights)
    arguments |= _options(flags)
    project, name = arguments.pop("project", None), arguments.pop("name", None)
    return weights, Path(str(project or parent)) / str(name or Path(flags.model).stem), arguments


def _options(flags: TrainFlags) -> dict[str, Any]:
    return flags.options if isinstance(flags, SparseFlags) else {}


def _finish(best: Path, *, is_sparse: bool) -> None:
    from kd_yolo.prune.sparse.trainer import SPARSE_FILE

    result = best.with_name(SPARSE_FILE) if is_sparse else best
    print_results(best.parents[1], ("results.csv", "results.png"))
    print_network(result)
    network = shell_path(result)
    print_next(f"kd-yolo prune --model {network} --importance bn" if is_sparse else f"yolo val model={network}")
