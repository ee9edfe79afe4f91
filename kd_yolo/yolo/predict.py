"""Boxes of a trained model on some images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Prediction:
    """What a model sees in one image.

    Attributes:
        boxes_xyxy_m4: boxes (M,4) in pixels.
        classes: class id of each box.
    """

    boxes_xyxy_m4: npt.NDArray[Any]
    classes: list[int]


def predict_boxes(
    weights: str | Path,
    images: Sequence[Path | npt.NDArray[Any]],
    *,
    imgsz: int,
    score_min: float = 0.25,
    device: str = "",
) -> tuple[list[Prediction], dict[int, str]]:
    """Runs a checkpoint on images.

    Args:
        weights: a checkpoint; loaded by the process's loading rules.
        images: image files, or images (H,W,3) in BGR order.
        imgsz: longer side in pixels.
        score_min: boxes below this score are left out.
        device: as ultralytics takes it.

    Returns:
        A prediction per image, and the model's class names.
    """
    from ultralytics import YOLO

    model = YOLO(str(weights))
    results = model.predict(
        [str(i) if isinstance(i, Path) else i for i in images],
        imgsz=imgsz,
        conf=score_min,
        device=device or None,
        verbose=False,
        save=False,
    )
    found = [Prediction(np.asarray(r.boxes.xyxy.cpu()), [int(c) for c in r.boxes.cls.tolist()]) for r in results]
    return found, {int(k): str(v) for k, v in model.names.items()}
