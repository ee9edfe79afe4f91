"""The loss that ultralytics ships: squared feature differences, counted where the teacher sees an object."""

from __future__ import annotations

from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import FeatureLoss, losses

# Keeps a level without any score at 0 instead of 0/0.
EPS = 1e-9


def score_weighted_error(student_nchw: Tensor, teacher_nchw: Tensor, scores_n1hw: Tensor) -> Tensor:
    """``sum_nchw (S - T)^2 * p / (C * sum_nhw p + 1e-9)``.

    Args:
        student_nchw: student map (N,C,H,W), adapted to the teacher's channels C.
        teacher_nchw: teacher map of the same shape.
        scores_n1hw: p = max over classes of sigmoid(teacher logit) at each position of this level (N,1,H,W), in [0, 1].

    Returns:
        A scalar >= 0: the mean squared difference, weighted by the teacher's confidence.

    References:
        Ultralytics, "Knowledge Distillation" guide, docs.ultralytics.com/guides/knowledge-distillation;
        ``loss_sl2`` of ultralytics.nn.distill_model (weight 6.0 there; here the weight is in the configuration).
    """
    error_nchw = (student_nchw - teacher_nchw).square() * scores_n1hw
    return error_nchw.sum() / (student_nchw.shape[1] * scores_n1hw.sum() + EPS)


@losses.register("score_l2")
class ScoreL2Loss(FeatureLoss):
    """Squared difference where the teacher is confident: what ultralytics ships, the baseline of every comparison.

    Raises:
        ConfigError: at the call, ``scores_n1hw`` is missing or does not fit the map.
    """

    paper = "Ultralytics, docs.ultralytics.com/guides/knowledge-distillation"
    default_weight = 6.0  # the shipped loss, weight and projector
    default_adapter = "mlp"
    context = frozenset({"scores_n1hw"})
    required = frozenset({"scores_n1hw"})

    def compute(self, student_nchw: Tensor, teacher_nchw: Tensor, *, scores_n1hw: Tensor) -> Tensor:
        """See :func:`score_weighted_error`."""
        num_images, _channels, height, width = student_nchw.shape
        if scores_n1hw.shape != (num_images, 1, height, width):
            raise ConfigError(
                f"loss 'score_l2': scores_n1hw has shape {tuple(scores_n1hw.shape)}, expected"
                f" {(num_images, 1, height, width)}: the teacher's best class score at each position of this level."
            )
        return score_weighted_error(student_nchw, teacher_nchw, scores_n1hw.to(student_nchw))
