"""CrossKD: what the teacher's head says of the student's features, against what it says of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import ResponseLoss, at_least_float32, losses
from kd_yolo.losses.bkd import binary_distillation
from kd_yolo.losses.checks import COUNT, NOT_NEGATIVE, POSITIVE, check_parameter
from kd_yolo.losses.dfl_kl import localisation_kl
from kd_yolo.losses.gate import gated_mean
from kd_yolo.losses.pkd import standardise_channels


def restandardise(student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
    """``(S - mean_S) / (std_S + 1e-6) * std_T + mean_T`` for every channel over all images and positions.

    What a student's feature needs before the teacher's convolutions can read it. Gradients reach the student only, and
    flow through its own mean and deviation.

    Args:
        student_nchw: student feature (N,C,H,W) at some convolution of its head; N*H*W > 1.
        teacher_nchw: teacher feature of the same channels at the same convolution.

    Returns:
        The student's feature with the teacher's mean and unbiased deviation of each channel, in the student's dtype.

    Raises:
        ConfigError: other channels, or one value a channel.

    References:
        Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Object Detection", CVPR 2024, arXiv 2306.11369.
    """
    own, other = student_nchw.shape[1], teacher_nchw.shape[1]
    if own != other:
        raise ConfigError(
            f"loss 'crosskd': the student's feature has {own} channels, the teacher's {other}: the teacher's head reads"
            " the student's features, so both heads need equal width. Use --loss bkd+dfl_kl."
        )
    if own in (student_nchw.numel(), teacher_nchw.numel()):
        raise ConfigError(
            "loss 'crosskd': each channel has one value (N*H*W = 1): it has no deviation."
            " Use a larger batch or image size."
        )
    with torch.autocast(student_nchw.device.type, enabled=False):
        x_nchw = at_least_float32(student_nchw)
        teacher_cp = teacher_nchw.detach().to(x_nchw.dtype).transpose(0, 1).flatten(1)
        mean_c1, std_c1 = teacher_cp.mean(1, keepdim=True), teacher_cp.std(1, keepdim=True)
        moved_cp = standardise_channels(x_nchw) * std_c1 + mean_c1
        moved_cnhw = moved_cp.reshape(own, len(x_nchw), *x_nchw.shape[2:])
        return moved_cnhw.transpose(0, 1).to(student_nchw.dtype)


@losses.register("crosskd")
class CrossHeadLoss(ResponseLoss):
    """The teacher's head on the student's features, against the teacher's own output: classes and box bins.

    :func:`kd_yolo.losses.bkd.binary_distillation` of the classes plus ``box_weight`` times
    :func:`kd_yolo.losses.dfl_kl.localisation_kl` of the boxes. Who calls it makes the student's side, the cross
    predictions: its feature at an early convolution of the head, through :func:`restandardise`, then the rest of the
    teacher's head.

    Args:
        tau: temperature > 0 of both parts.
        beta: exponent >= 0 of the disagreement of the classes.
        box_weight: weight >= 0 of the boxes.
        bins: bins R of a side (``reg_max`` of the teacher's head); one bin needs ``box_weight=0``.

    Raises:
        ConfigError: a parameter is out of range; at the call, no class channel, or a gate that does not fit.
    """

    paper = "Wang et al. 2023, arXiv 2306.11369"
    default_weight = 2.0  # as dfl_kl
    context = frozenset({"gate_na"})
    reads = "raw"
    axes = ("N", "4R+K", "A")
    shape_help = "both sides are outputs of the teacher's head: give it the student's features of the same image."

    def __init__(self, tau: float = 1.0, beta: float = 1.0, box_weight: float = 1.0, bins: int = 16) -> None:
        super().__init__()
        check_parameter("crosskd", "tau", tau, POSITIVE, usual=1.0)
        check_parameter("crosskd", "beta", beta, NOT_NEGATIVE, usual=1.0)
        check_parameter("crosskd", "box_weight", box_weight, NOT_NEGATIVE, usual=1.0)
        check_parameter("crosskd", "bins", bins, COUNT, usual=16)
        if bins == 1 and box_weight != 0:
            raise ConfigError(
                f"loss 'crosskd': bins is 1 with box_weight={box_weight}: a head with reg_max 1 (YOLO26) has no"
                " distribution of its boxes. Use box_weight=0, and --loss crosskd+box_iou for the boxes."
            )
        self.tau = tau
        self.beta = beta
        self.box_weight = box_weight
        self.bins = bins

    def compute(
        self,
        student_nca: Tensor,
        teacher_nca: Tensor,
        *,
        gate_na: Tensor | None = None,
    ) -> Tensor:
        """Classes plus weighted boxes; see :func:`kd_yolo.losses.gate.gated_mean`."""
        num_box = 4 * self.bins
        if student_nca.shape[1] <= num_box:
            raise ConfigError(
                f"loss 'crosskd' was built with bins={self.bins}, which is {num_box} channels before the classes;"
                f" the tensors have {student_nca.shape[1]}: set bins to the reg_max of the teacher's head."
            )
        loss_na = binary_distillation(student_nca[:, num_box:], teacher_nca[:, num_box:], tau=self.tau, beta=self.beta)
        if self.box_weight > 0:
            box_na = localisation_kl(student_nca[:, :num_box], teacher_nca[:, :num_box], tau=self.tau)
            loss_na = loss_na + self.box_weight * box_na
        return gated_mean(loss_na, gate_na)
