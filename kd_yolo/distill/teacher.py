"""The teacher: frozen, in eval mode, fused, outside the student's module tree, and run no further than needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.distill.taps import read_layers
from kd_yolo.yolo.heads import fuse_keeping_branches, raw_outputs


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher said of one batch.

    Attributes:
        features: layer index -> feature map (N,C,H,W).
        raw: the head's raw outputs, None when no term needs the head.
    """

    features: dict[int, Tensor]
    raw: dict[str, Any] | None


class Teacher:
    """Holds the teacher where no module tree, deep copy or pickle finds it.

    As a submodule of the student it would be un-frozen by the trainer's freeze loop, put into train mode every epoch
    and shipped inside every checkpoint.

    Args:
        model: a YOLO model; frozen, set to eval and fused in place.
        layers: layer indices to read.
        needs_head: run the head as well (response terms).
    """

    def __init__(self, model: nn.Module, layers: Sequence[int], *, needs_head: bool) -> None:
        self.model = fuse_keeping_branches(model.eval().requires_grad_(False))
        self.layers = sorted(set(layers))
        self.needs_head = needs_head

    @torch.no_grad()
    def __call__(self, image_nchw: Tensor) -> TeacherOutputs:
        """Runs the teacher on a batch of images (N,C,H,W) in [0, 1]."""
        if not self.layers:
            return TeacherOutputs({}, raw_outputs(self.model(image_nchw)))
        raw = None
        with read_layers(self.model, self.layers, stop=not self.needs_head) as features:
            raw = raw_outputs(self.model(image_nchw))
        return TeacherOutputs(features, raw if self.needs_head else None)

    def __reduce__(self) -> Any:
        return type(None), ()  # for pickle and for deepcopy
