"""Several detectors on one image: a teacher, its pruned and its distilled student."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.page.draw import Shown, draw_classes
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.predict import predict_boxes


@dataclass(frozen=True)
class Model:
    """A detector to compare.

    Attributes:
        title: what it is called in the page.
        weights: its checkpoint.
        parameters: how many it has.
    """

    title: str
    weights: Path
    parameters: int


@dataclass(frozen=True)
class ModelResult:
    """What a model sees in an image.

    Attributes:
        model: which one.
        num_boxes: how many.
        image_hw3: RGB, with the boxes.
    """

    model: Model
    num_boxes: int
    image_hw3: ImageHW3


@dataclass(frozen=True)
class Comparison:
    """Runs detectors on an image; safe to call from several threads, which wait for each other.

    Attributes:
        models: in the order of the page.
        imgsz: longer side of the networks' input in pixels.
        device: as ultralytics takes it.
    """

    models: Sequence[Model]
    imgsz: int = 640
    device: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, weights: Sequence[str], imgsz: int, device: str | None = None) -> Comparison:
        """Loads each checkpoint once, so that what is wrong with one is said before the page opens.

        Raises:
            InputError: a checkpoint cannot be used.
        """
        files = [Path(load_checkpoint(each)[0].pt_path) for each in weights]  # type: ignore[arg-type]
        counts = [sum(p.numel() for p in load_checkpoint(file)[0].parameters()) for file in files]
        models = [Model(*each) for each in zip(titles(files), files, counts, strict=True)]
        return cls(models, imgsz, device)

    def detect(self, image_hw3: ImageHW3, conf: float) -> list[ModelResult]:
        """What each model sees.

        Args:
            image_hw3: BGR.
            conf: least score of a box.
        """
        shown, results = Shown.of(image_hw3), []
        with self._lock:
            for model in self.models:
                found, names = predict_boxes(
                    model.weights, [image_hw3], imgsz=self.imgsz, score_min=conf, device=self.device or ""
                )
                drawn = draw_classes(shown, found[0].boxes_xyxy_m4, found[0].classes, names)
                results.append(ModelResult(model, len(found[0].classes), drawn))
        return results


def titles(files: Sequence[Path]) -> list[str]:
    """Names of files, as short as tells them apart: ``best``, or ``teacher/weights/best``."""
    parts = [file.absolute().with_suffix("").parts for file in files]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{place}: {file.stem}" for place, file in enumerate(files, 1)]
