"""Person re-identification: train, distil, evaluate and export networks that tell people apart.

In come folders of person crops with identity and camera in their names; out come embeddings (N,D) of unit length, their
ranking metrics, and networks as checkpoints and ONNX files. Nothing here needs ultralytics.
"""

from __future__ import annotations

from kd_yolo.base.lazy import imported_when_asked

__all__ = ["ReIDModel", "evaluate", "local_distance", "rerank"]

__getattr__ = imported_when_asked(
    __name__,
    {
        "evaluate": "kd_yolo.reid.evaluation.rank",
        "rerank": "kd_yolo.reid.evaluation.rerank",
        "local_distance": "kd_yolo.reid.evaluation.align",
        "ReIDModel": "kd_yolo.reid.model.network",
    },
)
