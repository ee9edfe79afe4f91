"""The teacher: frozen, in eval mode, fused, outside the student's module tree, and run no further than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.taps import read_layers, read_modules
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.heads import fuse_keeping_branches, head_branches, is_decoder, raw_outputs
from kd_yolo.yolo.queries import answered_queries


class Teacher:
    """Holds a teacher where no module tree, deep copy or pickle finds it.

    As a submodule of the student it would be un-frozen by the trainer's freeze loop, put into train mode every epoch
    and shipped inside every checkpoint.

    Args:
        model: a YOLO model, an RT-DETR or an exported detector; frozen, set to eval and fused in place.
        half: run it in bfloat16.

    Attributes:
        layers: indices of the layers that it reads.
        needs_head: whether it runs its head.
        reads_branches: whether it reads inside its head.
    """

    def __init__(self, model: nn.Module, *, half: bool = False) -> None:
        frozen = model.eval().requires_grad_(False)
        self._model = frozen if isinstance(model, ExportedDetector) else fuse_keeping_branches(frozen)
        self.half = half
        self.layers: list[int] = []
        self.needs_head = self.reads_branches = False

    @property
    def model(self) -> nn.Module:
        """The network, for its shapes and for the parts of its head that a term runs itself."""
        return self._model

    def watch(self, layers: Iterable[int], *, needs_head: bool, branches: bool = False) -> Teacher:
        """Says what the terms need, and returns itself: the fewer of these, the earlier the forward pass ends.

        Args:
            layers: layer indices to read.
            needs_head: run the head as well.
            branches: read what goes into the output layer of each branch of the head.
        """
        self.layers = sorted(set(layers))
        self.needs_head, self.reads_branches = needs_head or branches, branches
        return self

    @torch.no_grad()
    def __call__(self, image_nchw: Tensor) -> Outputs:
        """Runs the teacher on a batch of images (N,C,H,W) in [0, 1]."""
        model, preds = self.model, None
        features: dict[int, Tensor] = {}
        branches: dict[tuple[str, int], Tensor] = {}
        with ExitStack() as reading:
            if self.half:
                reading.enter_context(torch.autocast(image_nchw.device.type, torch.bfloat16))
            if self.layers:
                features = reading.enter_context(read_layers(model, self.layers, stop=not self.needs_head))
            if self.reads_branches:
                branches = reading.enter_context(read_modules(head_branches(model)))
            preds = model(image_nchw)
        if not self.needs_head:
            return Outputs(features, None)
        if is_decoder(model):
            return Outputs(features, None, queries=answered_queries(preds))
        return Outputs(features, raw_outputs(preds), branches)

    def __reduce__(self) -> Any:
        return type(None), ()  # for pickle and for deepcopy


class EMATeacher(Teacher):
    """The student's own moving average as its teacher (mean teacher).

    Args:
        student: a copy of the student; stands for the average until training has one.
        average: returns the moving average, in eval mode; None before there is one.
        half: run it in bfloat16.

    References:
        Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017, arXiv 1703.01780.
    """

    def __init__(self, student: nn.Module, average: Callable[[], nn.Module | None], *, half: bool = False) -> None:
        self._average = average
        super().__init__(student, half=half)

    @property
    def model(self) -> nn.Module:
        """The moving average; before the first step a copy of the student."""
        return self._average() or self._model
