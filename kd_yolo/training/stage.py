"""A training run in a folder of its own: started, resumed or finished, whatever is left to do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics import RTDETR, YOLO

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.lock import holding
from kd_yolo.training.end import finish_checkpoint
from kd_yolo.training.resume import check_changes, run_folder
from kd_yolo.training.run import Progress, progress_of, run_training
from kd_yolo.training.usage import USAGE
from kd_yolo.yolo.description.model_yaml import check_model_yaml, is_model_yaml
from kd_yolo.yolo.families import RTDETR as RTDETR_TASK
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.quantized_state import refuse_quantized
from kd_yolo.yolo.files.safe_mode import enforce_safe_loading, trusted
from kd_yolo.yolo.heads import is_decoder


def train_stage(
    trainers: Mapping[str, Any],
    weights: str,
    folder: Path,
    arguments: dict[str, Any],
    *,
    trust: bool = False,
    resume_command: str = "--resume {last}, or the same command in a chain",
) -> Path:
    """Trains into ``folder``, from where an earlier process left off.

    Args:
        trainers: trainer class by task.
        weights: a checkpoint, or a model YAML for a network from scratch.
        folder: the run's own folder; nothing in it is removed.
        arguments: ultralytics arguments and those of the trainer.
        trust: ``--trust-weights``.
        resume_command: what to type after Ctrl-C, with ``{last}`` for the checkpoint.

    Returns:
        ``weights/best.pt`` in the folder.

    Raises:
        ConfigError: no trainer for the task of the weights, or a folder with something else in it.
        InputError: weights or data that cannot be used.
    """
    enforce_safe_loading()
    last = folder / "weights" / "last.pt"
    if progress_of(last, trust=trust) is not Progress.NOTHING:
        return _go_on(trainers, last, {"data": arguments.get("data")}, trust=trust)
    task = task_of(weights, trust=trust)
    trainer = trainer_for(trainers, task)
    prepare_folder(folder)
    run = {**arguments, "project": str(folder.parent.resolve()), "name": folder.name, "exist_ok": True}
    with trusted(weights, folder) if trust else contextlib.nullcontext():
        run_training(open_network(weights, task), trainer, run, resume_command=resume_command)
    return last.with_name("best.pt")


def open_network(weights: str, task: str) -> Any:
    """The network as ultralytics trains it: for a YAML, ``YOLO`` does not know an RT-DETR.

    Args:
        weights: a checkpoint or a model YAML that was checked.
        task: of :func:`task_of`.
    """
    return RTDETR(weights) if task == RTDETR_TASK else YOLO(weights)


def prepare_folder(folder: Path) -> None:
    """Checks that a run may begin in a folder: an empty one, or one where a run ended before its first checkpoint.

    Raises:
        ConfigError: there is something else in it.
    """
    is_run = (folder / "args.yaml").is_file()
    if not is_run and folder.is_dir() and any(file.is_file() for file in folder.rglob("*")):
        raise ConfigError(f"{folder} holds files that are of no run: name another folder, or move them away.")
    (folder / USAGE).unlink(missing_ok=True)  # else the new run would add to what the other one has cost


def resume_stage(
    trainers: Mapping[str, Any], last: Path, changes: Mapping[str, Any] | None = None, *, trust: bool = False
) -> Path:
    """Continues the run of a ``last.pt``, in the folder in which it lies.

    Args:
        trainers: trainer class by task.
        last: the checkpoint.
        changes: ultralytics arguments that a resumed run may change, see :mod:`kd_yolo.training.resume`.
        trust: ``--trust-weights``.

    Raises:
        ConfigError: see :func:`train_stage`; or arguments that cannot change.
        InputError: no such checkpoint, a finished one, or data that does not fit.
    """
    enforce_safe_loading()
    check_changes(changes or {})
    require_unfinished(last, progress_of(last, trust=trust), "--model")
    return _go_on(trainers, last, changes or {}, trust=trust)


def require_unfinished(last: Path, progress: Progress, flag: str) -> None:
    """Refuses a ``last.pt`` that cannot be resumed.

    Args:
        last: the checkpoint.
        progress: how far its run got.
        flag: of the command, which takes weights to start from.

    Raises:
        InputError: no such checkpoint, or a finished one.
    """
    if progress is Progress.NOTHING:
        raise InputError(f"{last} does not exist: --resume takes the weights/last.pt of an interrupted run.")
    if progress is Progress.FINISHED:
        raise InputError(
            f"{last} is finished, there is nothing to resume: it is a plain model. To train it further, start a new run"
            f" with {flag} {last.with_name('best.pt')}"
        )


def _go_on(trainers: Mapping[str, Any], last: Path, changes: Mapping[str, Any], *, trust: bool) -> Path:
    """Resumes a run, or does what was left undone at its end; a finished one is left alone."""
    best, folder = last.with_name("best.pt"), run_folder(last)
    progress = progress_of(last, trust=trust)
    if progress is Progress.FINISHED:
        return best
    with trusted(folder) if trust else contextlib.nullcontext():
        trainer = trainer_for(trainers, task_of(str(last), trust=trust))
        if progress is Progress.TRAINED and trainer is None:  # ultralytics' own trainer refuses it
            with holding(folder):
                for path in (best, last):  # last.pt at the end: it is what tells that the run is finished
                    finish_checkpoint(path)
            return best
        given = {key: value for key, value in changes.items() if value is not None}
        arguments = {**given, "resume": str(last)}
        run_training(YOLO(last), trainer, arguments, resume_command=f"--resume {last}")
    return best


def trainer_for(trainers: Mapping[str, Any], task: str) -> Any:
    """The trainer class of a task.

    Raises:
        ConfigError: there is none.
    """
    if task not in trainers:
        raise ConfigError(f"a {task} model cannot be trained here: {', '.join(trainers)} can.")
    return trainers[task]


def task_of(weights: str, *, trust: bool = False, is_start: bool = False) -> str:
    """The task of a checkpoint or of a model YAML.

    Args:
        weights: the file.
        trust: ``--trust-weights``.
        is_start: a new run is to start from them.

    Raises:
        InputError: weights that cannot be used, or, for a new run, that were trained for INT8.
    """
    if is_model_yaml(weights):
        return check_model_yaml(weights)
    model: Any = load_checkpoint(weights, trust=trust)[0]
    if is_start:
        refuse_quantized(model, weights, "to start from")
    return network_task(model)


def network_task(model: Any) -> str:
    """The task of a network; ``rtdetr`` for an RT-DETR, which to ultralytics is a detector like others."""
    return RTDETR_TASK if is_decoder(model) else str(model.task)
