"""Focal and global distillation: objects and background apart, weighted by attention, plus global relations."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import FeatureLoss, losses, run_in_precision_of
from kd_yolo.losses.checks import COUNT, NOT_NEGATIVE, POSITIVE, SEED, check_parameter
from kd_yolo.losses.fgd_masks import background_mask, check_boxes, foreground_mask
from kd_yolo.losses.gc_block import build_context_blocks


def spatial_attention(x_nchw: Tensor, *, tau: float) -> Tensor:
    """``H*W * softmax over positions of mean_c |x| / tau``, (N,1,H,W)."""
    mean_n1hw = x_nchw.abs().mean(1, keepdim=True)
    share_n1p = (mean_n1hw.flatten(2) / tau).softmax(-1)
    return share_n1p.reshape(mean_n1hw.shape) * share_n1p.shape[-1]


def channel_attention(x_nchw: Tensor, *, tau: float) -> Tensor:
    """``C * softmax over channels of mean_hw |x| / tau``, (N,C,1,1)."""
    return x_nchw.shape[1] * (x_nchw.abs().mean((2, 3), keepdim=True) / tau).softmax(1)


@losses.register("fgd")
class FocalGlobalLoss(FeatureLoss):
    """Objects and background weighed apart under the teacher's attention, plus relations over the whole map.

    ``(alpha * sum M_fg A_s A_c (S - T)^2 + beta * sum M_bg A_s A_c (S - T)^2 + gamma * (sum |A_s(S) - A_s(T)| +
    sum |A_c(S) - A_c(T)|) + lambda_ * sum (R_S(S) - R_T(T))^2) / N`` with the masks of
    :mod:`kd_yolo.losses.fgd_masks`, the teacher's attentions A_s and A_c where none is named, and a global context
    block R for each side, whose weights are trained (:mod:`kd_yolo.losses.gc_block`). As in the paper the sums are over
    channels and positions, so the last part grows with the map. An image without boxes counts as background.

    Args:
        channels: channels C of the teacher's map; the student is aligned to them before.
        alpha: weight >= 0 of the objects.
        beta: weight >= 0 of the background.
        gamma: weight >= 0 of the attentions' difference.
        lambda_: weight >= 0 of the relations.
        tau: temperature > 0 of the attentions.
        seed: seed of the context blocks' weights.

    Raises:
        ConfigError: a parameter is out of range, or all four weights are 0; at the call, maps whose channels are not
            ``channels``, or boxes or an image size that do not fit.

    References:
        Yang et al., "Focal and Global Knowledge Distillation for Detectors", CVPR 2022, arXiv 2111.11837; rounding of
        the boxes, sums and initialisation as in the authors' code.
    """

    paper = "Yang et al. 2022, arXiv 2111.11837"
    default_share = 0.1  # a sum over positions, as mgd
    context = frozenset({"boxes_xyxy", "image_hw"})
    required = frozenset({"boxes_xyxy", "image_hw"})

    def __init__(
        self,
        channels: int,
        alpha: float = 1e-3,
        beta: float = 5e-4,
        gamma: float = 1e-3,
        lambda_: float = 5e-6,
        tau: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_parameter("fgd", "channels", channels, COUNT, usual=256)
        for name, value, usual in (
            ("alpha", alpha, 1e-3),
            ("beta", beta, 5e-4),
            ("gamma", gamma, 1e-3),
            ("lambda_", lambda_, 5e-6),
        ):
            check_parameter("fgd", name, value, NOT_NEGATIVE, usual=usual)
        if not any((alpha, beta, gamma, lambda_)):
            raise ConfigError("loss 'fgd': alpha, beta, gamma and lambda_ are all 0, and so would be the loss.")
        check_parameter("fgd", "tau", tau, POSITIVE, usual=0.5)
        check_parameter("fgd", "seed", seed, SEED, usual=0)
        self.channels = channels
        self.alpha, self.beta, self.gamma, self.lambda_ = alpha, beta, gamma, lambda_
        self.tau = tau
        self.student_block, self.teacher_block = build_context_blocks(channels, seed)

    def compute(self, student_nchw: Tensor, teacher_nchw: Tensor, *, boxes_xyxy: Any, image_hw: Any) -> Tensor:
        """The four parts of the class's formula."""
        num_images, num_channels = student_nchw.shape[:2]
        if num_channels != self.channels:
            raise ConfigError(
                f"loss 'fgd' was built with channels={self.channels}, the maps have {num_channels}:"
                f" build it with channels={num_channels}, the teacher's."
            )
        boxes, size_hw = check_boxes(boxes_xyxy, image_hw, num_images)
        fg_n1hw = foreground_mask(boxes, size_hw, teacher_nchw)
        mask_n1hw = self.alpha * fg_n1hw + self.beta * background_mask(fg_n1hw)
        total = self._focal(student_nchw, teacher_nchw, mask_n1hw) + self.lambda_ * self._global(
            student_nchw, teacher_nchw
        )
        return total / num_images

    def _focal(self, student_nchw: Tensor, teacher_nchw: Tensor, mask_n1hw: Tensor) -> Tensor:
        """Masked error under the teacher's attention, plus the difference of the attentions; summed."""
        spatial_n1hw = spatial_attention(teacher_nchw, tau=self.tau)
        channel_nc11 = channel_attention(teacher_nchw, tau=self.tau)
        error_n1hw = ((student_nchw - teacher_nchw).square() * channel_nc11).sum(1, keepdim=True)
        feature = (mask_n1hw * spatial_n1hw * error_n1hw).sum()
        spatial = (spatial_attention(student_nchw, tau=self.tau) - spatial_n1hw).abs().sum()
        channel = (channel_attention(student_nchw, tau=self.tau) - channel_nc11).abs().sum()
        return feature + self.gamma * (spatial + channel)

    def _global(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """Squared difference of the maps with their global context; summed."""
        own_nchw = run_in_precision_of(student_nchw, self.student_block)
        other_nchw = run_in_precision_of(teacher_nchw, self.teacher_block)
        return (own_nchw - other_nchw).square().sum()
