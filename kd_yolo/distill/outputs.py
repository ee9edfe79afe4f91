"""What the models say of a batch, and what is known of its images: the inputs of every term."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kd_yolo.yolo.queries import Queries

BranchKey = tuple[str, int]  # ("cv2" or "cv3", level): a place inside the head


@dataclass(frozen=True)
class Outputs:
    """What student or teacher said of one batch.

    Attributes:
        features: layer index -> feature map (N,C,H,W).
        raw: the head's raw one-to-many outputs ``{"boxes": (N,4R,A), "scores": (N,K,A), "feats": [(N,C,H,W), ...]}``;
            None when no term needs the head, or it is a decoder.
        branches: place inside the head -> feature map (N,C,H,W), see :func:`kd_yolo.yolo.heads.head_branches`.
        queries: of a decoder, where a term needs them.
    """

    features: Mapping[int, Tensor]
    raw: Mapping[str, Any] | None
    branches: Mapping[BranchKey, Tensor] = field(default_factory=dict)
    queries: Queries | None = None

    def images(self, part: slice) -> Outputs:
        """The outputs for some images of the batch."""
        raw = None if self.raw is None else {k: _cut(self.raw[k], part) for k in ("boxes", "scores", "feats")}
        features = {key: x[part] for key, x in self.features.items()}
        queries = None if self.queries is None else self.queries.images(part)
        return Outputs(features, raw, {key: x[part] for key, x in self.branches.items()}, queries)


def _cut(value: Any, part: slice) -> Any:
    return value[part] if isinstance(value, Tensor) else [x[part] for x in value]


@dataclass(frozen=True)
class Labels:
    """What is known of labelled images.

    Attributes:
        boxes_xyxy: for each image its boxes (M,4) in pixels of the network's input.
        image_hw: height and width of that input in pixels.
        assigned_na: True where the task-aligned assigner gave the anchor an object (N,A); None when it was not watched.
    """

    boxes_xyxy: Sequence[Tensor]
    image_hw: tuple[int, int]
    assigned_na: Tensor | None = None


def boxes_of(batch: Mapping[str, Any], num_images: int) -> list[Tensor]:
    """The boxes of each image in pixels of the padded input.

    Args:
        batch: ultralytics' batch: ``img`` (N,C,H,W), ``bboxes`` (M,4 or 5) normalised centre, size (and angle, which is
            left out), ``batch_idx`` (M,).
        num_images: images, counted from the first.

    Returns:
        ``num_images`` tensors (M,4) x0, y0, x1, y1.
    """
    height, width = batch["img"].shape[-2:]
    device = batch["img"].device
    xywh_m4 = batch["bboxes"][:, :4].to(device) * torch.tensor([width, height, width, height], device=device)
    half_m2 = xywh_m4[:, 2:] / 2
    xyxy_m4 = torch.cat([xywh_m4[:, :2] - half_m2, xywh_m4[:, :2] + half_m2], 1)
    owner_m = batch["batch_idx"].to(device).flatten()
    return [xyxy_m4[owner_m == i] for i in range(num_images)]


@contextmanager
def watch_assigner(base: Any) -> Iterator[list[Tensor]]:
    """Reads which anchors the task's own assigner gives an object, during the loss inside the ``with`` block.

    Args:
        base: ultralytics' criterion; of an end-to-end head's the one-to-many part is watched.

    Yields:
        A list that then holds one mask (N,A).
    """
    seen: list[Tensor] = []
    assigner = getattr(base, "one2many", base).assigner
    handle = assigner.register_forward_hook(lambda _m, _a, out: seen.append(out[3].detach().bool()))
    try:
        yield seen
    finally:
        handle.remove()
