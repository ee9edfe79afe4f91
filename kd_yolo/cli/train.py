"""``kd-yolo sparse`` and ``kd-yolo retrain``: the two plain trainings of the pruning chain as commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.closing import print_network, print_next, print_results, shell_path
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides

SPARSE = """Sparse training: a share of the BatchNorm gammas becomes exactly zero (proximal L1), for pruning by gamma.

The result is weights/sparse.pt, the last and sparsest weights, not best.pt. key=value goes to ultralytics."""
RETRAIN = """Trains a network with the widths that it has: what a pruned network needs after pruning.

ultralytics' own `yolo train model=pruned.pt` builds the unpruned network again. key=value goes to ultralytics."""


@dataclass(frozen=True)
class TrainFlags:
    """Flags of ``retrain``."""

    model: str | None = None
    """Weights, or a model YAML for a network from scratch."""
    resume: str | None = None
    """Continue an interrupted run from its weights/last.pt, with its settings."""
    name: str | None = None
    """Name of the run folder; default: that of the model."""
    device: str | None = None
    """cpu, 0, or 0,1 (several: DDP)."""
    seed: int | None = None
    """Seed of everything random."""
    trust_weights: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Load checkpoints that name classes outside the allow-list: runs the code they hold."""


@dataclass(frozen=True)
class SparseFlags(TrainFlags):
    """Flags of ``sparse``."""

    sparsity: float | None = None
    """Share of the gammas of prunable channels that are zero at the end; 0.5 when not said."""


def sparse(argv: Sequence[str] | None = None, prog: str = "kd-yolo sparse") -> int:
    """Runs ``kd-yolo sparse`` and returns the exit code."""
    return _main(SparseFlags, argv, prog, SPARSE)


def retrain(argv: Sequence[str] | None = None, prog: str = "kd-yolo retrain") -> int:
    """Runs ``kd-yolo retrain`` and returns the exit code."""
    return _main(TrainFlags, argv, prog, RETRAIN)


def _main(kind: type[TrainFlags], argv: Sequence[str] | None, prog: str, description: str) -> int:
    words, pairs = split_overrides(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(kind, words, prog=prog, description=description, pairs=pairs)
    return run_guarded(lambda: _run(flags, pairs))


def _run(flags: TrainFlags, pairs: list[str]) -> None:
    from kd_yolo.base.places import reserved
    from kd_yolo.prune.sparse import SPARSE_TRAINERS
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

    kept = ("resume", "trust_weights", "device")
    given = [f"--{key}" for key, value in vars(flags).items() if value is not None and key not in kept]
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
    own = {"device": flags.device, "seed": flags.seed, "name": flags.name}
    arguments = join_flags(parse_overrides(pairs, command="train", model_flag="--model"), own, "train")
    _check_sparsity(getattr(flags, "sparsity", None))
    if "data" not in arguments:
        data, defaults = demo_data(write=True)
        arguments = {**defaults, **arguments, "data": data}
        print(f"warning: no data=: the built-in street scenes, {data}")
    weights = find_weights(flags.model)
    check_training(weights, arguments, trust=flags.trust_weights)
    if getattr(flags, "sparsity", None) is not None:
        arguments["sparsity"] = flags.sparsity  # type: ignore[attr-defined]
    project, name = arguments.pop("project", None), arguments.pop("name", None)
    return weights, Path(str(project or parent)) / str(name or Path(flags.model).stem), arguments


def _check_sparsity(value: float | None) -> None:
    if value is not None and not 0 < value < 1:
        raise ConfigError(f"--sparsity is {value}, expected a share of the gammas above 0 and below 1, such as 0.5.")


def _finish(best: Path, *, is_sparse: bool) -> None:
    from kd_yolo.prune.sparse import SPARSE_FILE

    result = best.with_name(SPARSE_FILE) if is_sparse else best
    print_results(best.parents[1], ("results.csv", "results.png"))
    print_network(result)
    network = shell_path(result)
    print_next(f"kd-yolo prune --model {network} --importance bn" if is_sparse else f"yolo val model={network}")
