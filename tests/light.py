"""Training runs without what most tests do not ask about: opening, checking and writing files is most of a run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from ultralytics import YOLO

from kd_yolo.yolo.files import loading
from kd_yolo.yolo.files.model_check import check_model
from kd_yolo.yolo.files.unpickle import unpickle_safely

_EXAMINED: set[object] = set()


@contextmanager
def examined_once() -> Iterator[None]:
    """Inside, a checkpoint goes through the safe door once for each content, and is opened by torch alone after that.

    A run opens the same student and teacher again and again; the door takes ten times as long as opening alone.
    """
    opened: dict[Path, tuple[bytes, int]] = {}  # what was read last, and how many of its networks were checked since

    def unpickle(file: Path) -> Any:
        content = file.read_bytes() if file.is_file() else b""
        digest = hashlib.sha256(content).digest()
        opened[file] = digest, 0
        if digest in _EXAMINED:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
        found = unpickle_safely(file)
        _EXAMINED.add(digest)
        return found

    def check(file: Path, model: Any, **options: Any) -> None:
        digest, number = opened[file]
        opened[file] = digest, number + 1
        key = (digest, number, *options.items())
        if key in _EXAMINED:
            vars(model).pop("criterion", None)  # as the check does
        else:
            check_model(file, model, **options)
            _EXAMINED.add(key)

    with mock.patch.multiple(loading, unpickle_safely=unpickle, check_model=check):
        yield


def light(trainer: Any, *, save: bool = False) -> Any:
    """The trainer class without validation, of the teacher neither; every epoch counts as the best.

    Args:
        trainer: a trainer class.
        save: whether checkpoints are written.
    """

    def validate(self: Any) -> tuple[dict[str, float], float]:
        self.best_fitness = 0.0
        return {}, 0.0

    body: dict[str, Any] = {"validate": validate, "final_eval": lambda self: None, "measure_start": lambda self: None}
    if not save:
        body["save_model"] = lambda self: False
    return type(trainer.__name__, (trainer,), body)


def train_yolo(
    model: str, trainer: Any, arguments: dict[str, Any], *, on: dict[str, Any] | None, finish: bool, save: bool
) -> Any:
    """Trains with ultralytics' ``YOLO``.

    Args:
        model: weights or a YAML.
        trainer: the trainer class.
        arguments: ultralytics' and ours.
        on: callbacks by event.
        finish: whether it is validated.
        save: whether a run that is not finished keeps its checkpoints.

    Returns:
        The trainer at its end.
    """
    yolo = YOLO(model)
    for event, callback in (on or {}).items():
        yolo.add_callback(event, callback)
    try:
        yolo.train(trainer=trainer if finish else light(trainer, save=save), **arguments)
    except FileNotFoundError as error:  # upstream opens what a run has saved
        if finish or save or "no checkpoint was saved" not in str(error):
            raise
    return yolo.trainer
