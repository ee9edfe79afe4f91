"""One training run through ultralytics: start it, and tell how far an interrupted one got."""

from __future__ import annotations

import enum
import logging
from pathlib import Path
from typing import Any

from ultralytics import YOLO

from kd_yolo.training.end import is_trained
from kd_yolo.training.eta import say_time_left
from kd_yolo.yolo.files.loading import load_checkpoint_dict

log = logging.getLogger("kd_yolo")


def run_training(model: YOLO, trainer: Any, arguments: dict[str, Any], *, resume_command: str) -> Any:
    """Trains a model and returns its trainer.

    Args:
        model: what to train; after an interrupt it still has its ``trainer``.
        trainer: the trainer class.
        arguments: training arguments.
        resume_command: what to type after Ctrl-C, with ``{last}`` for the checkpoint.
    """
    model.add_callback("on_fit_epoch_end", say_time_left)
    try:
        model.train(trainer=trainer, **arguments)
    except KeyboardInterrupt:
        run = model.trainer
        if run is not None and Path(run.last).is_file():
            log.warning("\nsaved up to the last full epoch; continue with: %s", resume_command.format(last=run.last))
        else:
            log.warning("\ninterrupted before the first epoch ended: nothing to resume, type the same command again")
        raise
    return model.trainer


class Progress(enum.Enum):
    """How far a run got, by its ``last.pt``."""

    NOTHING = "no checkpoint yet"
    TRAINING = "can be resumed"
    TRAINED = "all epochs done, but cut off before its checkpoints were finished"
    FINISHED = "finished"


def progress_of(last: Path, *, trust: bool = False) -> Progress:
    """How far the run with this ``last.pt`` got.

    Raises:
        InputError: the checkpoint is damaged or unsafe.
    """
    if not last.is_file():
        return Progress.NOTHING
    ckpt = load_checkpoint_dict(last, trust=trust)
    if ckpt.get("optimizer") is None:
        return Progress.FINISHED
    return Progress.TRAINED if is_trained(ckpt) else Progress.TRAINING
