"""What the responses share: a mean over anchors, weighted by a gate."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError

RAREST = 10.0  # how much more than its confidence an anchor of a rare class may count


def balanced_confidence(logits_nka: Tensor) -> Tensor:
    """The highest class score of each anchor, weighed so that every class that a batch shows counts alike.

    An anchor belongs to the class with its highest score s. A class's mass is the sum of s^2 over its anchors (squared,
    so that the many anchors of background add nothing); an anchor's weight is s times the mean mass of the classes over
    the mass of its own, at most :data:`RAREST`. With one class it is the score.

    Args:
        logits_nka: class logits (N,K,A).

    Returns:
        Weights (N,A) >= 0, float32, without gradient.

    References:
        Our own; the idea is the class-balanced re-weighting of Cui et al. 2019 (arXiv 1901.05555), eq. 4, with the
        teacher's scores as the number of samples.
    """
    score_na, class_na = logits_nka.detach().float().sigmoid().max(1)
    mass_k = torch.zeros(logits_nka.shape[1], device=score_na.device)
    mass_k.index_add_(0, class_na.flatten(), score_na.flatten() ** 2)
    mean = mass_k.sum() / (mass_k > 0).sum().clamp(min=1)
    factor_k = (mean / mass_k.clamp(min=1e-12)).clamp(max=RAREST)
    return score_na * factor_k[class_na]


def checked_gate(loss_na: Tensor, gate_na: Tensor | None, *, name: str = "gate_na") -> Tensor:
    """The gate (N,A) in the loss's dtype; without one, 1 everywhere.

    Args:
        loss_na: the loss of every anchor point (N,A).
        gate_na: weights >= 0 of the same shape, bool or number.
        name: what the loss calls the gate, for the message.

    Raises:
        ConfigError: the gate has another shape.
    """
    gate_na = torch.ones_like(loss_na) if gate_na is None else gate_na.to(loss_na)
    if gate_na.shape != loss_na.shape:
        raise ConfigError(
            f"{name} has shape {tuple(gate_na.shape)}, expected {tuple(loss_na.shape)}: one weight for every image"
            f" and anchor point. Reduce the classes first, for example {name[:-2]}nka.amax(1)."
        )
    return gate_na


def gated_mean(loss_na: Tensor, gate_na: Tensor | None, *, name: str = "gate_na") -> Tensor:
    """``sum_na(gate * loss) / max(1, sum_na(gate))``, for the arguments of :func:`checked_gate`.

    The least divisor keeps a batch whose gate is all zero (no objects) finite: its loss is 0.
    """
    gate_na = checked_gate(loss_na, gate_na, name=name)
    return (gate_na * loss_na).sum() / gate_na.sum().clamp(min=1)
