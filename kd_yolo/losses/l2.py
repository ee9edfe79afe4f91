"""FitNet hints: the plain squared distance between feature maps."""

from __future__ import annotations

from torch import Tensor

from kd_yolo.losses.base import FeatureLoss, losses


def mean_squared_error(student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
    """``mean_nchw (S - T)^2``.

    Args:
        student_nchw: student map (N,C,H,W), adapted to the teacher's channels C.
        teacher_nchw: teacher map of the same shape.

    Returns:
        A scalar >= 0. It grows with the square of the features' scale, so its weight belongs to one teacher.

    References:
        Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv 1412.6550, equation 3; the mean instead of
        half the sum, so that the number does not depend on the map's size.
    """
    return (student_nchw - teacher_nchw).square().mean()


@losses.register("l2")
class L2Loss(FeatureLoss):
    """Every value of the feature map: mean squared difference (FitNet hints); YOLOv5 forks' ``l2`` is ``obj_gated``."""

    paper = "Romero et al. 2015, arXiv 1412.6550"
    default_weight = 5.0

    def compute(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """See :func:`mean_squared_error`."""
        return mean_squared_error(student_nchw, teacher_nchw)
