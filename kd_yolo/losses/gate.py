"""What the responses share: weighting anchors by a gate and dividing by a normalizer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kd_yolo.errors import ConfigError


def gated_sum(
    loss_na: Tensor, gate_na: Tensor | None, normalizer: Tensor | float | None, *, name: str = "gate_na"
) -> Tensor:
    """``sum_na(gate * loss) / normalizer``.

    Args:
        loss_na: the loss of every anchor point (N,A).
        gate_na: weights >= 0 of the same shape, bool or number; None is 1 everywhere.
        normalizer: a scalar > 0 such as the sum of target scores; None is ``max(1, sum of the gate)``, which keeps a
            batch whose gate is all zero (no objects) finite: its loss is 0.
        name: what the loss calls the gate, for the message.

    Returns:
        A scalar of the loss's dtype.

    Raises:
        ConfigError: the gate has another shape, or the normalizer is not one number > 0.
    """
    gate_na = torch.ones_like(loss_na) if gate_na is None else gate_na.to(loss_na)
    if gate_na.shape != loss_na.shape:
        raise ConfigError(
            f"{name} has shape {tuple(gate_na.shape)}, expected {tuple(loss_na.shape)}: one weight for every image"
            f" and anchor point. Reduce the classes first, for example {name[:-2]}nka.amax(1)."
        )
    if normalizer is None:
        return (gate_na * loss_na).sum() / gate_na.sum().clamp(min=1)
    normalizer = torch.as_tensor(normalizer).to(loss_na)
    if normalizer.numel() != 1 or not 0 < normalizer.item() < math.inf:
        raise ConfigError(
            f"normalizer is {normalizer.tolist()}, expected one finite number > 0: clamp a sum that can be 0,"
            " for example scores.sum().clamp(min=1)."
        )
    return (gate_na * loss_na).sum() / normalizer.reshape(())
