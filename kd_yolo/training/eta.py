"""How long a run still takes, said after every epoch; ultralytics' own bar knows the current epoch only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.callbacks.base import default_callbacks


def say_time_left(trainer: Any) -> None:
    """Callback for ``on_fit_epoch_end``."""
    left = trainer.epochs - trainer.epoch - 1
    if RANK not in {-1, 0} or left <= 0 or trainer.stop:
        return
    seconds = (time.time() - trainer.train_time_start) / (trainer.epoch - trainer.start_epoch + 1) * left
    LOGGER.info(f"kd-yolo: epoch {trainer.epoch + 1} of {trainer.epochs} done, about {duration(seconds)} left")


@contextmanager
def after_each_epoch(call: Callable[[], object]) -> Iterator[None]:
    """Inside, every training calls this after each epoch, whatever its trainer is."""

    def callback(_: Any) -> None:
        call()

    default_callbacks["on_train_epoch_end"].append(callback)
    try:
        yield
    finally:
        default_callbacks["on_train_epoch_end"].remove(callback)


def duration(seconds: float) -> str:
    """``"45 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
