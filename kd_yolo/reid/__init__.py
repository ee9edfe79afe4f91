"""Person re-identification: train, distil, evaluate and export networks that tell people apart.

In come folders of person crops with identity and camera in their names; out come embeddings (N,D) of unit length, their
ranking metrics, and networks as checkpoints and ONNX files. Nothing here needs ultralytics.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "evaluate": "kd_yolo.reid.evaluation.rank",
    "rerank": "kd_yolo.reid.evaluation.rerank",
    "local_distance": "kd_yolo.reid.evaluation.align",
    "ReIDModel": "kd_yolo.reid.model.network",
}
__all__ = ["ReIDModel", "evaluate", "local_distance", "rerank"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
