"""kd-yolo: makes a trained YOLO detector small and fast without losing what it knows.

Read top to bottom: ``errors``, ``registry``, ``geometry``, ``losses``, ``config``, ``data``, ``yolo``, ``distill``,
``report``, ``cli``. Each meets only what stands before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd_yolo.distill.trainer import DistillationTrainer

__all__ = ["DistillationTrainer"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the trainer when it is asked for: losses and geometry must not cost an import of ultralytics."""
    if name == "DistillationTrainer":
        from kd_yolo.distill.trainer import DistillationTrainer

        return DistillationTrainer
    raise AttributeError(f"module 'kd_yolo' has no attribute '{name}'")
