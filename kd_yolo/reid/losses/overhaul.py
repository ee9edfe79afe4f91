"""Overhaul feature distillation: stage maps before the ReLU, with the teacher's negative values cut at a margin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision

TINY = 1e-12  # smallest deviation: a norm with gamma 0 gives a constant


@torch.no_grad()
def negative_mean(norm: nn.BatchNorm2d) -> Tensor:
    """``E[x | x < 0] = beta - |gamma| phi(z) / Phi(-z)``, z = beta / |gamma|, for x ~ N(beta, |gamma|) of each channel.

    The quotient is ``sqrt(2 / pi) / erfcx(z / sqrt(2))``, which neither underflows for large z nor overflows. The
    authors take ``-3 |gamma|`` where ``Phi(-z) <= 0.001``, beyond 3 deviations; the formula holds there as well.

    Args:
        norm: the last BatchNorm of a stage.

    Returns:
        The margins (C), float32, <= 0.

    References:
        Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv 1904.01866,
        the teacher transform (margin ReLU).
    """
    beta_c, sigma_c = norm.bias.double(), norm.weight.double().abs().clamp(min=TINY)
    ratio_c: Tensor = math.sqrt(2 / math.pi) / torch.special.erfcx(beta_c / sigma_c / math.sqrt(2))
    return (beta_c - sigma_c * ratio_c).clamp(max=0).float()


@in_full_precision
def partial_l2(student_nchw: Tensor, teacher_nchw: Tensor, margin_c: Tensor) -> Tensor:
    """``mean (s - t')^2 [s > t' or t' > 0]`` with ``t' = max(t, m)``: a negative target is reached from above only.

    Args:
        student_nchw: student map before the ReLU, connected to the teacher's channels.
        teacher_nchw: teacher map before the ReLU; gets no gradient.
        margin_c: margin of each channel, <= 0.

    Returns:
        A scalar >= 0: the mean over all values, those that do not count included.

    References:
        Heo et al. 2019, arXiv 1904.01866, the partial L2 distance; the mean instead of the sum.
    """
    if student_nchw.shape != teacher_nchw.shape:
        raise ConfigError(
            f"student map {tuple(student_nchw.shape)} and teacher map {tuple(teacher_nchw.shape)} differ in shape:"
            " Overhaul needs equal network.height, network.width and network.last_stride of both."
        )
    teacher_nchw = teacher_nchw.detach().to(student_nchw.dtype)
    target_nchw = torch.maximum(teacher_nchw, margin_c.to(student_nchw.dtype).view(-1, 1, 1))
    counts_nchw = (student_nchw > target_nchw) | (target_nchw > 0)
    return ((student_nchw - target_nchw).square() * counts_nchw).mean()


class StageDistances(nn.Module):
    """``sum_j 2^-(3-j) partial_l2(connector_j(s_j), t_j)`` over stages j = 0..3; the last stage weighs 1.

    The connectors (1x1 convolution, then BatchNorm) are trained with the student and are no part of it.

    Args:
        student_channels: channels of the student's stages, by name in order.
        teacher_norms: the last BatchNorm of each of the teacher's stages, by the same names
            (:func:`kd_yolo.reid.model.backbones.last_norms`).

    Raises:
        ConfigError: the stages of the two differ; at the call, a stage is missing or its maps differ in size.
    """

    def __init__(self, student_channels: Mapping[str, int], teacher_norms: Mapping[str, nn.BatchNorm2d]) -> None:
        super().__init__()
        if list(student_channels) != list(teacher_norms):
            raise ConfigError(
                f"student stages {', '.join(student_channels)} and teacher stages {', '.join(teacher_norms)} differ:"
                " Overhaul needs the same stages of both; set distill.overhaul_weight=0 for this pair."
            )
        self.connectors = nn.ModuleDict()
        for stage, norm in teacher_norms.items():
            convolution = nn.Conv2d(student_channels[stage], norm.num_features, kernel_size=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
            self.connectors[stage] = nn.Sequential(convolution, nn.BatchNorm2d(norm.num_features))
            self.register_buffer(f"margin_{stage}", negative_mean(norm))

    def forward(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            student: maps (N,C,H,W) before the ReLU by stage
                (:func:`kd_yolo.reid.model.pre_relu.pre_relu_features`).
            teacher: those of the teacher; get no gradient.
        """
        lacking = [stage for stage in self.connectors if stage not in student or stage not in teacher]
        if lacking:
            raise ConfigError(f"no map of {', '.join(lacking)}: read all stages with pre_relu_features.")
        terms = [
            2.0 ** (position + 1 - len(self.connectors)) * self._stage(stage, student[stage], teacher[stage])
            for position, stage in enumerate(self.connectors)
        ]
        return torch.stack(terms).sum()

    def _stage(self, stage: str, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        connector = self.connectors[stage]
        with torch.autocast(student_nchw.device.type, enabled=False):
            connected_nchw = connector(student_nchw.to(next(connector.parameters()).dtype))
        return partial_l2(connected_nchw, teacher_nchw, getattr(self, f"margin_{stage}"))


@losses.register("overhaul")
class OverhaulLoss(ReIDLoss):
    """The mean of :class:`StageDistances` over the teachers; each has connectors of its own.

    Args:
        channels: channels of the student's stages, by name in order.
        teacher_norms: of each teacher, the last BatchNorm of each stage.

    Raises:
        ConfigError: see :class:`StageDistances`.
    """

    paper = "Heo et al. 2019, arXiv 1904.01866"

    def __init__(self, channels: Mapping[str, int], teacher_norms: Sequence[Mapping[str, nn.BatchNorm2d]]) -> None:
        super().__init__()
        self.each = nn.ModuleList(StageDistances(channels, norms) for norms in teacher_norms)

    def forward(self, own_pre_relu: Mapping[str, Tensor], teacher_pre_relu: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """The loss of a batch."""
        pairs = zip(self.each, teacher_pre_relu, strict=True)
        return torch.stack([distances(own_pre_relu, maps) for distances, maps in pairs]).mean()
