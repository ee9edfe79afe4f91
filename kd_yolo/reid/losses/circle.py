"""Circle loss over pairs: similarities that are far from their optimum pull harder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.losses.checks import NOT_NEGATIVE, POSITIVE, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision
from kd_yolo.reid.losses.triplet import anchors_with_both, pair_masks


@in_full_precision
def circle_loss(features_nd: Tensor, targets_n: Tensor, *, margin: float = 0.25, gamma: float = 128.0) -> Tensor:
    """``mean_a log(1 + sum_n exp(gamma a_n (s_n - m)) sum_p exp(-gamma a_p (s_p - 1 + m)))``.

    s are the cosines of anchor a with its positives p and negatives n of the batch; ``a_p = [1 + m - s_p]+`` and
    ``a_n = [s_n + m]+`` carry no gradient. The mean is over the anchors that have both.

    Args:
        features_nd: features of any length.
        targets_n: index of each row's identity.
        margin: m >= 0.
        gamma: scale > 0.

    Returns:
        A scalar >= 0; the length of a feature does not matter.

    Raises:
        ConfigError: no image of the batch has both a positive and a negative.

    References:
        Sun et al., "Circle Loss", CVPR 2020, arXiv 2002.10857, the pairwise form, with the m and gamma of its person
        ReID.
    """
    is_same_nn, is_other_nn = pair_masks(targets_n)
    anchors_m = anchors_with_both(is_same_nn, is_other_nn)
    unit_nd = F.normalize(features_nd)
    cosine_mn = unit_nd[anchors_m] @ unit_nd.T
    weight_p_mn = (1 + margin - cosine_mn.detach()).clamp(min=0)
    weight_n_mn = (cosine_mn.detach() + margin).clamp(min=0)
    logit_p_mn = -gamma * weight_p_mn * (cosine_mn - 1 + margin)
    logit_n_mn = gamma * weight_n_mn * (cosine_mn - margin)
    of_positives_m = logit_p_mn.masked_fill(~is_same_nn[anchors_m], -torch.inf).logsumexp(1)
    of_negatives_m = logit_n_mn.masked_fill(~is_other_nn[anchors_m], -torch.inf).logsumexp(1)
    return F.softplus(of_positives_m + of_negatives_m).mean()


@losses.register("circle")
class CircleLoss(ReIDLoss):
    """See :func:`circle_loss`.

    Args:
        margin: m >= 0.
        gamma: > 0.

    Raises:
        ConfigError: a parameter is out of range.
    """

    paper = "Sun et al. 2020, arXiv 2002.10857"

    def __init__(self, margin: float = 0.25, gamma: float = 128.0) -> None:
        super().__init__()
        check_parameter("circle", "margin", margin, NOT_NEGATIVE, usual=0.25)
        check_parameter("circle", "gamma", gamma, POSITIVE, usual=128.0)
        self.margin, self.gamma = margin, gamma

    def forward(self, features_nd: Tensor, targets_n: Tensor) -> Tensor:
        """The loss of a batch."""
        return circle_loss(features_nd, targets_n, margin=self.margin, gamma=self.gamma)
