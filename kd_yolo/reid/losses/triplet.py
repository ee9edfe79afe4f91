"""Batch-hard triplet loss: every image against its farthest own and its nearest foreign image of the batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import at_least_float32
from kd_yolo.losses.checks import NOT_NEGATIVE, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision


class Triplets(NamedTuple):
    """Rows of a batch that make triplets."""

    anchors_m: Tensor
    positives_m: Tensor
    negatives_m: Tensor


@torch.no_grad()
def mine_hardest(features_nd: Tensor, targets_n: Tensor) -> Triplets:
    """The farthest image of the same identity and the nearest of another, for each image that has both.

    Args:
        features_nd: features, not normalised; distances are Euclidean.
        targets_n: index of each row's identity.

    Raises:
        ConfigError: no image has both.
    """
    with torch.autocast(features_nd.device.type, enabled=False):
        features_nd = at_least_float32(features_nd)
        dist_nn = torch.cdist(features_nd, features_nd, compute_mode="donot_use_mm_for_euclid_dist")
    is_same_nn, is_other_nn = pair_masks(targets_n)
    anchors_m = anchors_with_both(is_same_nn, is_other_nn)
    positives_n = dist_nn.masked_fill(~is_same_nn, -torch.inf).argmax(1)
    negatives_n = dist_nn.masked_fill(~is_other_nn, torch.inf).argmin(1)
    return Triplets(anchors_m, positives_n[anchors_m], negatives_n[anchors_m])


def pair_masks(targets_n: Tensor) -> tuple[Tensor, Tensor]:
    """Whether two different rows have one identity (N,N), and whether they have two."""
    is_equal_nn = targets_n.unsqueeze(1) == targets_n
    is_self_nn = torch.eye(len(targets_n), dtype=torch.bool, device=targets_n.device)
    return is_equal_nn & ~is_self_nn, ~is_equal_nn


def anchors_with_both(is_same_nn: Tensor, is_other_nn: Tensor) -> Tensor:
    """Rows (M) that have a positive and a negative.

    Raises:
        ConfigError: there is none.
    """
    anchors_m = (is_same_nn.any(1) & is_other_nn.any(1)).nonzero().squeeze(1)
    if len(anchors_m) == 0:
        raise ConfigError(
            f"a batch of {len(is_same_nn)} images has none with both another image of its identity and one of another:"
            " triplet and circle losses need at least train.ids=2 and train.images=2."
        )
    return anchors_m


def ranking_loss(positive_m: Tensor, negative_m: Tensor, margin: float | None) -> Tensor:
    """``mean_m max(0, d_p - d_n + margin)``, or ``mean_m log(1 + exp(d_p - d_n))`` where the margin is None."""
    gap_m = positive_m - negative_m
    return (F.softplus(gap_m) if margin is None else (gap_m + margin).clamp(min=0)).mean()


@in_full_precision
def batch_hard_triplet(
    features_nd: Tensor, targets_n: Tensor, *, margin: float | None = 0.3, triplets: Triplets | None = None
) -> Tensor:
    """``1/M sum_a max(0, max_p |f_a - f_p| - min_n |f_a - f_n| + margin)`` over the M images that have both.

    Equal to pytorch-metric-learning's TripletMarginLoss with ``LpDistance(normalize_embeddings=False)``,
    ``BatchHardMiner`` and ``MeanReducer``.

    Args:
        features_nd: features before BNNeck's norm, not normalised.
        targets_n: index of each row's identity.
        margin: >= 0 in units of the distance; None is the soft margin ``log(1 + exp(d_p - d_n))``.
        triplets: those of :func:`mine_hardest`, where they are at hand.

    Returns:
        A scalar >= 0.

    Raises:
        ConfigError: no image of the batch has both a positive and a negative.

    References:
        Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, arXiv 1703.07737,
        equation 5; the mean instead of the sum.
    """
    anchors_m, positives_m, negatives_m = triplets or mine_hardest(features_nd, targets_n)
    anchor_md = features_nd[anchors_m]
    positive_m = torch.linalg.vector_norm(anchor_md - features_nd[positives_m], dim=1)
    negative_m = torch.linalg.vector_norm(anchor_md - features_nd[negatives_m], dim=1)
    return ranking_loss(positive_m, negative_m, margin)


def check_margin(loss: str, margin: float | None) -> None:
    """Checks a margin; None is the soft margin.

    Raises:
        ConfigError: neither None nor a number >= 0.
    """
    if margin is not None:
        check_parameter(loss, "margin", margin, NOT_NEGATIVE, usual=0.3)


@losses.register("triplet")
class TripletLoss(ReIDLoss):
    """See :func:`batch_hard_triplet`.

    Args:
        margin: >= 0, or None for the soft margin.

    Raises:
        ConfigError: the margin is neither.
    """

    paper = "Hermans et al. 2017, arXiv 1703.07737"

    def __init__(self, margin: float | None = 0.3) -> None:
        super().__init__()
        check_margin("triplet", margin)
        self.margin = margin

    def forward(self, features_nd: Tensor, targets_n: Tensor, triplets: Triplets | None = None) -> Tensor:
        """The loss of a batch."""
        return batch_hard_triplet(features_nd, targets_n, margin=self.margin, triplets=triplets)
