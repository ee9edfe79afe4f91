"""Is the installation fit for work: network and a forward pass, for ``kd-yolo doctor``."""

from __future__ import annotations

import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ONLINE

from kd_yolo.yolo.quiet import quiet


def is_online() -> bool:
    """Whether ultralytics could fetch official weights."""
    return bool(ONLINE)


def tiny_forward() -> str:
    """A training forward pass of the smallest student at 64 px, in one line of text."""
    with quiet():
        model = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    boxes = model.train()(torch.zeros(1, 3, 64, 64))["boxes"]
    return f"yolov8n at 64 px gives boxes {tuple(boxes.shape)}, {'finite' if boxes.isfinite().all() else 'NOT FINITE'}"
