"""A detector for frames: batches in, the boxes of one class out, the same for an image whatever is beside it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from ultralytics.data.augment import LetterBox
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes

from kd_yolo.base.device import choose_device
from kd_yolo.base.errors import InputError
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.heads import detect_head, head_facts, input_channels

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
MAX_BOXES = 300  # of an image, as ultralytics has it
PATIENCE_S = 60.0  # for the suppression of an image; upstream's 0.05 drops boxes on a busy machine


@dataclass(frozen=True)
class Search:
    """What to look for.

    Attributes:
        class_id: the class.
        imgsz: longer side of the input in pixels; rounded up to whole strides.
        conf: least score.
        iou: boxes that overlap a better one by more go.
    """

    class_id: int
    imgsz: int
    conf: float
    iou: float


@dataclass(frozen=True)
class BatchDetector:
    """A fused network on its device.

    Attributes:
        model: in eval mode.
        device: where it is.
        file: the weights.
    """

    model: nn.Module
    device: torch.device
    file: str
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # the head caches its grid

    @classmethod
    def open(cls, weights: str, device: str | None = None, *, trust: bool = False) -> BatchDetector:
        """Loads a checkpoint by the rules of :func:`load_checkpoint`.

        Raises:
            InputError: it cannot be loaded, is no YOLO detector, or gives no upright boxes.
            ConfigError: no such device.
        """
        place = choose_device(device)
        model, _ = load_checkpoint(weights, trust=trust)
        facts: Any = model
        detect_head(model, f"model {weights}")
        if head_facts(model).rotated or input_channels(model) != 3:
            kind = "turned boxes" if head_facts(model).rotated else f"images of {input_channels(model)} channels"
            raise InputError(f"{facts.pt_path} is for {kind}: people are found with a detect, segment or pose model.")
        model = facts.fuse(verbose=False).to(place).eval()
        if place.type == "cpu":  # a sixth faster there
            model = model.to(memory_format=torch.channels_last)
        return cls(model, place, str(facts.pt_path))

    @property
    def names(self) -> dict[int, str]:
        """Class names by id."""
        facts: Any = self.model
        return {int(key): str(name) for key, name in facts.names.items()}

    def find(self, images_bgr: Sequence[Image], search: Search) -> list[tuple[Floats, Floats]]:
        """Boxes (M,4) in pixels and scores (M,) of each image, best first.

        Images of a size share a forward pass; so an image's boxes do not depend on the others.

        Args:
            images_bgr: (H,W,3) uint8 each; H and W may differ between them.
            search: see :class:`Search`.
        """
        facts: Any = self.model
        stride = max(int(facts.stride.max()), 32)
        size_px = -(-search.imgsz // stride) * stride
        found = [(np.empty((0, 4), np.float32), np.empty(0, np.float32)) for _ in images_bgr]
        fit = LetterBox(new_shape=(size_px, size_px), auto=True, stride=stride)
        groups: dict[tuple[int, ...], list[tuple[int, Image]]] = {}
        for place, image in enumerate(images_bgr):
            if min(image.shape[:2]) * size_px >= max(image.shape[:2]):  # else it is no pixel wide in the input
                fitted = cv2.cvtColor(fit(image=image), cv2.COLOR_BGR2RGB)
                groups.setdefault(fitted.shape, []).append((place, fitted))
        with self._lock, torch.inference_mode():
            for group in groups.values():
                boxes_m6 = self._forward(np.stack([fitted for _, fitted in group]), search)
                for (place, fitted), each_m6 in zip(group, boxes_m6, strict=True):
                    boxes_m4 = scale_boxes(fitted.shape[:2], each_m6[:, :4], images_bgr[place].shape)
                    found[place] = _as_floats(boxes_m4), _as_floats(each_m6[:, 4])
        return found

    def _forward(self, fitted_nhwc: Image, search: Search) -> list[Tensor]:
        """Boxes, scores and classes (M,6) in pixels of the input, for each image."""
        facts: Any = self.model
        images_nchw = torch.from_numpy(fitted_nhwc).to(self.device).permute(0, 3, 1, 2)
        if self.device.type != "cpu":
            images_nchw = images_nchw.contiguous()
        outputs: Any = self.model(images_nchw / 255)
        while isinstance(outputs, list | tuple):  # segment: ((boxes, prototypes), raw)
            outputs = outputs[0]
        return non_max_suppression(  # type: ignore[no-any-return]
            outputs, search.conf, search.iou, classes=[search.class_id], max_det=MAX_BOXES, nc=len(self.names),
            max_time_img=PATIENCE_S, end2end=getattr(facts, "end2end", False),
        )  # fmt: skip


def _as_floats(values: Tensor) -> Floats:
    return values.cpu().numpy().astype(np.float32)
