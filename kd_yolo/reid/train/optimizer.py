"""The optimizer, and its learning rate as a pure function of progress: a resumed run continues the same curve."""

from __future__ import annotations

import math
from bisect import bisect_right

import torch
from torch import nn
from torch.optim import Optimizer

from kd_yolo.reid.settings import TrainSettings

FLOOR = 0.01  # of the peak: where warm-up starts and the cosine ends
DROP = 0.1


def learning_rate(settings: TrainSettings, epoch: float) -> float:
    """The learning rate at ``epoch``, which counts steps as fractions: 1.5 is the middle of the second epoch.

    Linear warm-up from ``FLOOR`` of the peak, then a cosine to ``FLOOR`` or a tenth at each milestone.
    """
    if epoch < settings.warmup:
        return settings.lr * (FLOOR + (1 - FLOOR) * epoch / settings.warmup)
    if settings.schedule == "step":
        return settings.lr * DROP ** bisect_right(settings.milestones, epoch / settings.epochs)
    progress = (epoch - settings.warmup) / max(settings.epochs - settings.warmup, 1e-9)
    return settings.lr * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)


def make_optimizer(modules: nn.Module, settings: TrainSettings) -> Optimizer:
    """An optimizer over all parameters that train; biases and norms do not decay."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in modules.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.lr)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets it for every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
