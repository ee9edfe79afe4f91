"""Pearson distillation: feature maps compared after the scale and the offset of every channel are taken out."""

from __future__ import annotations

from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import FeatureLoss, losses

# Added to the standard deviation, as the authors do: a constant (dead) channel becomes 0 instead of 0/0.
EPS = 1e-6


def standardise_channels(x_nchw: Tensor) -> Tensor:
    """Mean 0 and unbiased standard deviation 1 for every channel over all images and positions.

    Args:
        x_nchw: feature map (N,C,H,W) with N*H*W > 1.

    Returns:
        The standardised map (C,P), P = N*H*W.
    """
    x_cp = x_nchw.transpose(0, 1).flatten(1)
    centred_cp = x_cp - x_cp.mean(1, keepdim=True)
    return centred_cp / (x_cp.std(1, keepdim=True) + EPS)


def pearson_distance(student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
    """``mean (S^ - T^)^2 / 2`` of the standardised maps, which is ``(P-1)/P * (1 - r)`` averaged over channels.

    Args:
        student_nchw: student map (N,C,H,W), adapted to the teacher's channels C; N*H*W > 1.
        teacher_nchw: teacher map of the same shape.

    Returns:
        A scalar in [0, 2]; r is Pearson's correlation over the P = N*H*W values of a channel.

    References:
        Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient",
        NeurIPS 2022, arXiv 2207.02039: MSE of the normalised features and its equality with 1 - r.
    """
    difference_cp = standardise_channels(student_nchw) - standardise_channels(teacher_nchw)
    return difference_cp.square().mean() / 2


@losses.register("pkd")
class PearsonLoss(FeatureLoss):
    """How channels vary, not how large they are: 1 - Pearson correlation, averaged over channels.

    Raises:
        ConfigError: at the call, a batch of one value a channel (N*H*W = 1).
    """

    paper = "Cao et al. 2022, arXiv 2207.02039"

    def compute(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """See :func:`pearson_distance`."""
        if student_nchw.shape[1] == student_nchw.numel():
            raise ConfigError(
                "loss 'pkd': each channel has one value (N*H*W = 1): a correlation needs at least two."
                " Use --loss l2, or a larger batch or image size."
            )
        return pearson_distance(student_nchw, teacher_nchw)
