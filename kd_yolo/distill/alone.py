"""``--baseline``: the same student trained without a teacher, in the folder ``alone`` of the run."""

from __future__ import annotations

import shlex
from pathlib import Path

from kd_yolo.training.resume import saved_arguments
from kd_yolo.training.run import Progress, progress_of
from kd_yolo.training.stage import train_stage
from kd_yolo.training.trainers import RETRAINERS
from kd_yolo.yolo.files.loading import load_checkpoint_dict

ASKED = "baseline"  # in the settings of a run: the weights that both students start from


def is_missing(save_dir: Path, start: str | None, *, trust: bool = False) -> bool:
    """Whether the student alone was asked for (it has a start) and is not trained to its end."""
    last = save_dir / "alone" / "weights" / "last.pt"
    return start is not None and progress_of(last, trust=trust) is not Progress.FINISHED


def train_alone(save_dir: Path, start: str, *, trust: bool = False) -> Path:
    """Trains the student alone: same start, seed, data and epochs as the finished run in this folder.

    Returns:
        Its best weights.

    Raises:
        InputError: the start, or the data, is not there any more.
        ConfigError: see :func:`kd_yolo.training.stage.train_stage`.
    """
    last = save_dir / "weights" / "last.pt"
    arguments = saved_arguments(load_checkpoint_dict(last, trust=trust), last)
    arguments = {key: value for key, value in arguments.items() if key not in ("task", "save_dir")}
    command = f"kd-yolo distill --resume {shlex.quote(str(last))}".replace("{", "{{").replace("}", "}}")
    settings = {**arguments, "data": str(save_dir / "data.yaml")}
    return train_stage(RETRAINERS, start, save_dir / "alone", settings, trust=trust, resume_command=command)
