"""kd-yolo: compresses YOLO detectors on top of ultralytics, and finds people again in images and video.

Read top to bottom; each meets only what stands before it:
``base``, ``geometry``, ``losses``, ``config``, ``data``, ``builtin``, ``yolo``, ``training``, ``prune``, ``distill``,
``report``, ``pipeline``, ``league``, ``reid``, ``search``, ``cli``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kd_yolo.base.version import __version__

if TYPE_CHECKING:
    from kd_yolo.distill.trainer import DistillationTrainer
    from kd_yolo.pipeline.model import PruneModel

__all__ = ["DistillationTrainer", "PruneModel", "__version__"]

_PLACES = {"DistillationTrainer": "kd_yolo.distill.trainer", "PruneModel": "kd_yolo.pipeline.model"}


def __getattr__(name: str) -> Any:
    """Imports a class when it is asked for: losses and geometry must not cost an import of ultralytics."""
    if name not in _PLACES:
        raise AttributeError(f"module 'kd_yolo' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)
