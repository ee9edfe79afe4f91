"""Adapters: what brings a student's feature map to the teacher's channels and scale before a loss compares them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_yolo.distill.taps import TapPair

STANDARD_EPS = 1e-6


def standardize(x_nchw: Tensor) -> Tensor:
    """Every channel to mean 0 and variance 1 over (N,H,W), by the statistics of this batch alone, in float32 at least.

    References:
        Lyu et al. 2022 (RTMDet), arXiv 2212.07784, section on distillation; BatchNorm without affine and without
        running statistics.
    """
    x = x_nchw if x_nchw.dtype == torch.float64 else x_nchw.float()
    return F.batch_norm(x, None, None, training=True, eps=STANDARD_EPS)  # three times as fast as var_mean on CPU


def build_adapter(kind: str, pair: TapPair) -> nn.Module:
    """A module from the student's channels to the teacher's.

    Args:
        kind: ``auto`` (identity when the channels agree, else 1x1), ``conv1x1`` (always), ``mlp`` (1x1-ReLU-1x1, the
            projector of the loss that ultralytics ships).
        pair: the taps on both sides.
    """
    own, other = pair.student.channels, pair.teacher.channels
    if kind == "mlp":
        return nn.Sequential(nn.Conv2d(own, other, 1), nn.ReLU(inplace=True), nn.Conv2d(other, other, 1))
    if kind == "auto" and own == other:
        return nn.Identity()
    return nn.Conv2d(own, other, 1)


class TrainingOnly(nn.ModuleDict):
    """Learnable parts of the terms, registered on the live student for the length of a training run.

    As a child of the model it is in the optimizer, in gradient clipping and in DDP's reduction. A deep copy of it (the
    EMA model, auto-batch, AMP checks) is None and a pickle of it is None: no checkpoint of the student holds it.
    """

    def __reduce__(self) -> Any:
        return type(None), ()  # for pickle and for deepcopy
