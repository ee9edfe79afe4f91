"""Networks pruned by hand, and what the tests of this folder ask of networks and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_yolo.yolo.files.loading import load_checkpoint

KEEP = 8  # of the 16 outputs of the first conv of a scale-n network


def narrow(model: Any, keep: int = KEEP) -> Any:
    """Cuts the outputs of a model's first conv down, in place: what is left is a network of stock classes."""
    first, second = model.model[0], model.model[1]
    first.conv.weight = nn.Parameter(first.conv.weight.detach()[:keep].clone())
    first.conv.out_channels = first.bn.num_features = keep
    for name in ("weight", "bias"):
        setattr(first.bn, name, nn.Parameter(getattr(first.bn, name).detach()[:keep].clone()))
    for name in ("running_mean", "running_var"):
        setattr(first.bn, name, getattr(first.bn, name)[:keep].clone())
    second.conv.weight = nn.Parameter(second.conv.weight.detach()[:, :keep].clone())
    second.conv.in_channels = keep
    return model


def widths(model: nn.Module) -> dict[str, torch.Size]:
    """Shapes of all parameters and buffers."""
    return {key: value.shape for key, value in model.state_dict().items()}


def saved_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """The weights of the network in a checkpoint."""
    return load_checkpoint(path)[0].state_dict()


def same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)


class Killed(BaseException):
    """Ends a run as an external signal would: no handler of the trainer sees it."""


def kill_at(epoch: int, batch: int) -> dict[str, Any]:
    """Callbacks that raise ``Killed`` after a batch of an epoch."""

    def callback(trainer: Any) -> None:
        if trainer.epoch == epoch and trainer._batches_seen == batch + 1:
            raise Killed

    return {"on_train_batch_end": callback}
