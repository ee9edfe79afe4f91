"""Keeps ultralytics and the exporters off the console."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics.utils import LOGGER


@contextmanager
def quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Inside, ultralytics says nothing below ``level`` and draws no bars; Python warnings are not shown."""
    before = LOGGER.level
    LOGGER.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        LOGGER.setLevel(before)


@contextmanager
def silent() -> Iterator[None]:
    """Inside, ultralytics and this package say nothing below an error."""
    own = logging.getLogger("kd_yolo")
    before = own.level
    own.setLevel(logging.ERROR)
    try:
        with quiet(logging.ERROR):
            yield
    finally:
        own.setLevel(before)
