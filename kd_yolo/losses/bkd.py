"""Binary classification distillation: every class logit as its own yes/no question."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.losses.base import ResponseLoss, losses
from kd_yolo.losses.checks import NOT_NEGATIVE, POSITIVE, check_parameter
from kd_yolo.losses.gate import gated_mean


def power_of_gap(gap: Tensor, beta: float) -> Tensor:
    """``gap^beta`` for a gap >= 0, with gradient 0 where the gap is 0 (for beta < 1 it would be infinite there)."""
    is_zero = gap == 0
    return torch.where(is_zero, 0.0**beta, torch.where(is_zero, 1.0, gap) ** beta)


def binary_distillation(student_nka: Tensor, teacher_nka: Tensor, *, tau: float, beta: float) -> Tensor:
    """``sum_k BCE(z_s/T, sigmoid(z_t/T)) * T^2 * |sigmoid(z_t) - sigmoid(z_s)|^beta`` of every anchor point.

    The modulating factor is part of the loss: gradients flow through it, as in the authors' code (and in the quality
    focal loss that it comes from), so the gradient is that of the number reported. It matters: at p_t = .5, p_s = .6,
    T = beta = 1 the gradient is .181; with a detached factor it would be .010. For beta > 0 loss and gradient are 0
    where student and teacher agree; beta = 0 is plain BCE, whose minimum is the teacher's entropy, not 0.

    Args:
        student_nka: student class logits (N,K,A).
        teacher_nka: teacher class logits of the same shape.
        tau: temperature T > 0 of the cross-entropy; the factor is taken at T = 1.
        beta: exponent >= 0: how much the anchors on which the two agree are played down.

    Returns:
        The loss of each anchor (N,A), >= 0.

    References:
        Yang et al., "Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection", ICCV 2023,
        arXiv 2308.14286 (T = 1, beta = 1); Li et al., "Generalized Focal Loss", NeurIPS 2020, arXiv 2006.04388,
        equation 2 (the quality focal loss).
    """
    bce_nka = F.binary_cross_entropy_with_logits(student_nka / tau, (teacher_nka / tau).sigmoid(), reduction="none")
    gap_nka = (teacher_nka.sigmoid() - student_nka.sigmoid()).abs()
    return tau**2 * (bce_nka * power_of_gap(gap_nka, beta)).sum(1)


@losses.register("bkd")
class BinaryLoss(ResponseLoss):
    """Class scores as yes/no questions: cross-entropy weighted by the disagreement; right for one class too.

    The class half of the paper. Its box half, 1 - IoU with the teacher's boxes weighted by the same disagreement, is
    not here: ``box_iou`` beside it weighs by the gate. The sum is divided by the gate's, where the authors divide the
    sum over all anchors by the number of assigned ones.

    Args:
        tau: temperature > 0.
        beta: exponent >= 0 of the disagreement ``|sigmoid(z_t) - sigmoid(z_s)|``.

    Raises:
        ConfigError: a parameter is out of range; at the call, a gate that does not fit.
    """

    paper = "Yang et al. 2023, arXiv 2308.14286"
    context = frozenset({"gate_na"})

    def __init__(self, tau: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        check_parameter("bkd", "tau", tau, POSITIVE, usual=1.0)
        check_parameter("bkd", "beta", beta, NOT_NEGATIVE, usual=1.0)
        self.tau = tau
        self.beta = beta

    def compute(
        self,
        student_nka: Tensor,
        teacher_nka: Tensor,
        *,
        gate_na: Tensor | None = None,
    ) -> Tensor:
        """See :func:`binary_distillation` and :func:`kd_yolo.losses.gate.gated_mean`."""
        loss_na = binary_distillation(student_nka, teacher_nka, tau=self.tau, beta=self.beta)
        return gated_mean(loss_na, gate_na)
