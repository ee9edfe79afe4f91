"""Frozen networks that teach a student: loaded, checked against its identities, asked in eval mode."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.reid.model.checkpoint import check_identities, load_checkpoint
from kd_yolo.reid.model.contents import Identity
from kd_yolo.reid.model.network import Features, ReIDModel
from kd_yolo.reid.model.pre_relu import pre_relu_features


@dataclass(frozen=True)
class TeacherOutputs:
    """What a teacher gives for a batch.

    Attributes:
        features: its features.
        logits_nk: without margin.
        pre_relu: maps by stage, before the ReLU; empty where they were not asked for.
    """

    features: Features
    logits_nk: Tensor
    pre_relu: dict[str, Tensor]


class Teacher:
    """A frozen network in eval mode; no child of a module, so that nothing trains or saves it.

    Args:
        model: its parameters stop to require gradients.
    """

    def __init__(self, model: ReIDModel) -> None:
        self.model = model.eval().requires_grad_(False)

    def to(self, device: torch.device) -> Teacher:
        """Moves it."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def __call__(self, x_nchw: Tensor, *, with_pre_relu: bool = False) -> TeacherOutputs:
        """Runs on the crops, resized to its own size."""
        size_hw = (self.model.config.height, self.model.config.width)
        if tuple(x_nchw.shape[2:]) != size_hw:
            x_nchw = F.interpolate(x_nchw, size_hw, mode="bilinear", antialias=True)
        with ExitStack() as reading:
            maps = reading.enter_context(pre_relu_features(self.model.backbone)) if with_pre_relu else {}
            features = self.model.features(x_nchw)
        return TeacherOutputs(features, self.model.logits(features), dict(maps))


def load_teachers(paths: Sequence[str], identities: Sequence[Identity], *, by_logits: bool) -> list[Teacher]:
    """Loads teachers.

    Args:
        paths: checkpoints of ``kd-yolo reid train``.
        identities: those of the student, in order.
        by_logits: soft labels are compared, so the identities must be the same.

    Raises:
        InputError: no such checkpoint, or other identities.
    """
    teachers = []
    for path in paths:
        checkpoint = load_checkpoint(path)
        if by_logits:
            check_identities(checkpoint.identities, identities)
        teachers.append(Teacher(ReIDModel.from_checkpoint(checkpoint, path)))
    return teachers
