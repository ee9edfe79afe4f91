"""Softmax distillation: the classes of an anchor point as one distribution."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import ResponseLoss, losses
from kd_yolo.losses.checks import POSITIVE, check_parameter
from kd_yolo.losses.gate import gated_mean


def class_kl(student_nka: Tensor, teacher_nka: Tensor, *, tau: float) -> Tensor:
    """``T^2 * KL(softmax(z_t/T) || softmax(z_s/T))`` over the K classes of every anchor point.

    Args:
        student_nka: student class logits (N,K,A), K > 1; logits, never sigmoid scores.
        teacher_nka: teacher class logits of the same shape.
        tau: temperature T > 0.

    Returns:
        The loss of each anchor (N,A), >= 0. It does not change when a constant is added to an anchor's logits.

    References:
        Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531, equation 1 and section 2
        (the factor T^2).
    """
    log_s_nka = F.log_softmax(student_nka / tau, dim=1)
    log_t_nka = F.log_softmax(teacher_nka / tau, dim=1)
    return tau**2 * F.kl_div(log_s_nka, log_t_nka, reduction="none", log_target=True).sum(1)


@losses.register("kl")
class ClassKLLoss(ResponseLoss):
    """Which class wins: KL between softmaxes over the classes of an anchor; needs two classes or more.

    Args:
        tau: temperature > 0.

    Raises:
        ConfigError: ``tau`` is not a number > 0; at the call, one class, or a gate that does not fit.
    """

    paper = "Hinton et al. 2015, arXiv 1503.02531"
    context = frozenset({"gate_na"})

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        check_parameter("kl", "tau", tau, POSITIVE, usual=1.0)
        self.tau = tau

    def compute(
        self,
        student_nka: Tensor,
        teacher_nka: Tensor,
        *,
        gate_na: Tensor | None = None,
    ) -> Tensor:
        """See :func:`class_kl` and :func:`kd_yolo.losses.gate.gated_mean`."""
        if student_nka.shape[1] == 1:
            raise ConfigError(
                "loss 'kl': the logits have 1 class: a softmax over one class is always 1 and the loss always 0."
                " Use --loss bkd, which asks a yes/no question for each class."
            )
        return gated_mean(class_kl(student_nka, teacher_nka, tau=self.tau), gate_na)
