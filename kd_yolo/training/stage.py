"""A training run in a folder of its own: started, resumed or finished, whatever is left to do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics import YOLO

from kd_yolo.errors import ConfigError, InputError
from kd_yolo.training.checkpoint import finish_checkpoint
from kd_yolo.training.run import Progress, progress_of, run_training
from kd_yolo.yolo.loading import load_checkpoint
from kd_yolo.yolo.model_yaml import check_model_yaml, is_model_yaml
from kd_yolo.yolo.safe_mode import enforce_safe_loading, trusted


def train_stage(
    trainers: Mapping[str, Any], weights: str, folder: Path, arguments: dict[str, Any], *, trust: bool = False
) -> Path:
    """Trains into ``folder``, from where an earlier process left off.

    Args:
        trainers: trainer class by task.
        weights: a checkpoint, or a model YAML for a network from nothing.
        folder: the run's own folder; without a checkpoint in it, it is emptied.
        arguments: ultralytics arguments and those of the trainer.
        trust: ``--trust-weights``.

    Returns:
        ``weights/best.pt`` in the folder.

    Raises:
        ConfigError: no trainer for the task of the weights.
        InputError: weights or data that cannot be used.
    """
    enforce_safe_loading()
    last = folder / "weights" / "last.pt"
    if progress_of(last, trust=trust) is not Progress.NOTHING:
        return _go_on(trainers, last, trust=trust)
    trainer = trainer_for(trainers, task_of(weights, trust=trust))
    shutil.rmtree(folder, ignore_errors=True)
    run = {**arguments, "project": str(folder.parent.resolve()), "name": folder.name, "exist_ok": True}
    with trusted(weights, folder) if trust else contextlib.nullcontext():
        run_training(YOLO(weights), trainer, run, resume_command=f"--resume {last}, or the same command in a chain")
    return last.with_name("best.pt")


def resume_stage(trainers: Mapping[str, Any], last: Path, *, trust: bool = False) -> Path:
    """Continues the run of a ``last.pt``.

    Raises:
        ConfigError: see :func:`train_stage`.
        InputError: no such checkpoint, or a finished one.
    """
    enforce_safe_loading()
    progress = progress_of(last, trust=trust)
    if progress is Progress.NOTHING:
        raise InputError(f"{last} does not exist: --resume takes the weights/last.pt of an interrupted run.")
    if progress is Progress.FINISHED:
        raise InputError(f"{last} is finished, there is nothing to resume: start a new run with --model {last}")
    return _go_on(trainers, last, trust=trust)


def _go_on(trainers: Mapping[str, Any], last: Path, *, trust: bool) -> Path:
    """Resumes a run, or does what was left undone at its end; a finished one is left alone."""
    best, folder = last.with_name("best.pt"), last.resolve().parents[1]
    with trusted(folder) if trust else contextlib.nullcontext():
        trainer = trainer_for(trainers, task_of(str(last), trust=trust))
        if progress_of(last, trust=trust) is Progress.TRAINING:
            run_training(YOLO(last), trainer, {"resume": str(last)}, resume_command=f"--resume {last}")
        else:
            for path in (best, last):  # last.pt at the end: it is what tells that the run is finished
                finish_checkpoint(path)
    return best


def trainer_for(trainers: Mapping[str, Any], task: str) -> Any:
    """The trainer class of a task.

    Raises:
        ConfigError: there is none.
    """
    if task not in trainers:
        raise ConfigError(f"a {task} model cannot be trained here: {', '.join(trainers)} can.")
    return trainers[task]


def task_of(weights: str, *, trust: bool = False) -> str:
    """The task of a checkpoint or of a model YAML.

    Raises:
        InputError: weights that cannot be used.
    """
    if is_model_yaml(weights):
        return check_model_yaml(weights)
    model: Any = load_checkpoint(weights, trust=trust)[0]
    return str(model.task)
