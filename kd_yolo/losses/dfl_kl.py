"""Localisation distillation: each side of a box as a distribution over distances."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import ResponseLoss, losses
from kd_yolo.losses.checks import COUNT, POSITIVE, check_parameter
from kd_yolo.losses.gate import gated_mean


def localisation_kl(student_nca: Tensor, teacher_nca: Tensor, *, tau: float) -> Tensor:
    """``T^2 * mean_4 sum_r KL(softmax(z_t/T) || softmax(z_s/T))`` of every anchor point.

    The mean is over the four sides, the sum over the bins: the KL of one side is a sum, and the number does not shrink
    with finer bins.

    Args:
        student_nca: student box distributions (N,4R,A), channel = side * R + bin.
        teacher_nca: teacher box distributions of the same shape.
        tau: temperature T > 0.

    Returns:
        The loss of each anchor (N,A), >= 0. It does not change when a constant is added to the bins of a side.

    References:
        Zheng et al., "Localization Distillation for Dense Object Detection", CVPR 2022, arXiv 2102.12252; the
        factor T^2 of Hinton et al. 2015, arXiv 1503.02531.
    """
    num_images, num_channels, num_anchors = student_nca.shape
    sides = (x.reshape(num_images, 4, num_channels // 4, num_anchors) / tau for x in (student_nca, teacher_nca))
    log_s_n4ra, log_t_n4ra = (F.log_softmax(x_n4ra, dim=2) for x_n4ra in sides)
    return tau**2 * F.kl_div(log_s_n4ra, log_t_n4ra, reduction="none", log_target=True).sum(2).mean(1)


@losses.register("dfl_kl")
class LocalisationLoss(ResponseLoss):
    """Where each side of a box may lie: KL between the distributions over bins of a DFL head.

    The authors take T = 10, a weight of 0.25, and two regions: the assigned anchors and those around them (the valuable
    localisation region). Here T is 1 and every anchor counts as far as ``weight_na`` says, in a run the teacher's
    confidence.

    Args:
        tau: temperature > 0.
        bins: bins R of a side (``reg_max`` of the heads), > 1.

    Raises:
        ConfigError: a parameter is out of range; at the call, channels that are not 4 * ``bins``, or a weight
            that does not fit.
    """

    paper = "Zheng et al. 2022, arXiv 2102.12252"
    default_weight = 2.0  # about 10 % of the gradient, yolov8n under yolov8s on photographs
    context = frozenset({"weight_na"})
    reads = "bins"
    axes = ("N", "4R", "A")
    shape_help = (
        "box distributions need equal bins (reg_max) and anchor points."
        " Heads with other bins can be compared by their boxes: use --loss box_iou."
    )

    def __init__(self, tau: float = 1.0, bins: int = 16) -> None:
        super().__init__()
        check_parameter("dfl_kl", "tau", tau, POSITIVE, usual=1.0)
        check_parameter("dfl_kl", "bins", bins, COUNT, usual=16)
        if bins == 1:
            raise ConfigError(
                "loss 'dfl_kl': bins is 1: a head with reg_max 1 (YOLO26) has no distribution, its softmax is always 1"
                " and the loss always 0. Use --loss box_iou."
            )
        self.tau = tau
        self.bins = bins

    def compute(
        self,
        student_nca: Tensor,
        teacher_nca: Tensor,
        *,
        weight_na: Tensor | None = None,
    ) -> Tensor:
        """See :func:`localisation_kl` and :func:`kd_yolo.losses.gate.gated_mean`."""
        num_channels = student_nca.shape[1]
        if num_channels != 4 * self.bins:
            advice = f"build it with bins={num_channels // 4}, the heads' reg_max"
            if num_channels % 4 or num_channels == 4:
                advice = "it takes the raw box output of a DFL head; for decoded boxes or one bin use --loss box_iou"
            raise ConfigError(
                f"loss 'dfl_kl' was built with bins={self.bins}, which is {4 * self.bins} channels;"
                f" the tensors have {num_channels}: {advice}."
            )
        loss_na = localisation_kl(student_nca, teacher_nca, tau=self.tau)
        return gated_mean(loss_na, weight_na, name="weight_na")
