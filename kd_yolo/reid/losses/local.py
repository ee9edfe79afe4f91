"""Triplets on the aligned local distance of AlignedReID++, of the pairs that the global feature mined."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision
from kd_yolo.reid.losses.triplet import Triplets, check_margin, ranking_loss


@in_full_precision
def aligned_distance(x_nhd: Tensor, y_nhd: Tensor) -> Tensor:
    """Dynamically matched local distance of row n of x and row n of y; differentiable.

    ``e_ij = |x_i - y_j|``, ``d_ij = tanh(e_ij / 2)``; the result is the sum of d over the cells of the cheapest path
    from (1,1) to (H,H) that steps down or right: 2H - 1 cells.

    Args:
        x_nhd: stripes of unit length.
        y_nhd: stripes of unit length, as many.

    Returns:
        Distances (N), from 0 to (2H - 1) tanh(1).

    References:
        Luo et al., "AlignedReID++", Pattern Recognition 94, 2019, DMLI; ``(e^x - 1) / (e^x + 1)`` is written as
        ``tanh(x / 2)``.
    """
    gap_nhhd = x_nhd.unsqueeze(2) - y_nhd.unsqueeze(1)
    cost_nhh = torch.tanh(torch.linalg.vector_norm(gap_nhhd, dim=-1) / 2)
    num_stripes = cost_nhh.shape[1]
    above: list[Tensor] = []
    for row in range(num_stripes):
        current: list[Tensor] = []
        for column in range(num_stripes):
            ways = [*above[column : column + 1], *current[-1:]]
            best = torch.minimum(ways[0], ways[1]) if len(ways) == 2 else sum(ways)
            current.append(cost_nhh[:, row, column] + best)
        above = current
    return above[-1]


def local_triplet(local_nhd: Tensor, triplets: Triplets, *, margin: float | None = 0.3) -> Tensor:
    """``mean_m max(0, d(a, p) - d(a, n) + margin)`` with d of :func:`aligned_distance`.

    Args:
        local_nhd: stripes of unit length of the whole batch.
        triplets: those that :func:`kd_yolo.reid.losses.triplet.mine_hardest` found on the global feature.
        margin: >= 0; None is the soft margin.

    Returns:
        A scalar >= 0.

    References:
        Luo et al., "AlignedReID++", Pattern Recognition 94, 2019, the joint loss.
    """
    anchor_mhd = local_nhd[triplets.anchors_m]
    positive_m = aligned_distance(anchor_mhd, local_nhd[triplets.positives_m])
    negative_m = aligned_distance(anchor_mhd, local_nhd[triplets.negatives_m])
    return ranking_loss(positive_m, negative_m, margin)


@losses.register("local")
class LocalTripletLoss(ReIDLoss):
    """See :func:`local_triplet`.

    Args:
        margin: >= 0, or None for the soft margin.

    Raises:
        ConfigError: the margin is neither.
    """

    paper = "Luo et al., AlignedReID++, Pattern Recognition 94, 2019"

    def __init__(self, margin: float | None = 0.3) -> None:
        super().__init__()
        check_margin("local", margin)
        self.margin = margin

    def forward(self, local_nhd: Tensor, triplets: Triplets) -> Tensor:
        """The loss of a batch."""
        return local_triplet(local_nhd, triplets, margin=self.margin)
