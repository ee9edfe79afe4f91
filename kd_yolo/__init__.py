"""kd-yolo: compresses YOLO detectors on top of ultralytics, and finds people again in images and video.

Read top to bottom; each meets only what stands before it:
``base``, ``geometry``, ``losses``, ``config``, ``data``, ``builtin``, ``yolo``, ``training``, ``prune``, ``distill``,
``report``, ``pipeline``, ``league``, ``reid``, ``search``, ``cli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kd_yolo.base.lazy import imported_when_asked
from kd_yolo.base.version import __version__

if TYPE_CHECKING:
    from kd_yolo.distill.trainer import DistillationTrainer
    from kd_yolo.pipeline.model import PruneModel

__all__ = ["DistillationTrainer", "PruneModel", "__version__"]

# Losses and geometry must not cost an import of ultralytics.
__getattr__ = imported_when_asked(
    __name__, {"DistillationTrainer": "kd_yolo.distill.trainer", "PruneModel": "kd_yolo.pipeline.model"}
)
