"""Boxes from a head's raw outputs: distances to the four sides, and corners in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_yolo.geometry.anchors import anchor_points


def expected_distances(bins_nba: Tensor) -> Tensor:
    """Distances from each anchor to the left, top, right and bottom side of its box, in cells.

    Args:
        bins_nba: raw box outputs (N,4R,A): with R > 1 the logits of a distribution over 0..R-1 for each side, whose
            expectation is the distance (DFL, Li et al. 2020, arXiv 2006.04388); with R = 1 the distances.

    Returns:
        (N,4,A), float32 at least.
    """
    num_images, num_channels, num_anchors = bins_nba.shape
    bins_nba = bins_nba if bins_nba.dtype == torch.float64 else bins_nba.float()
    if num_channels == 4:
        return bins_nba
    bins_n4ra = bins_nba.reshape(num_images, 4, num_channels // 4, num_anchors)
    values_r = torch.arange(num_channels // 4, device=bins_nba.device, dtype=bins_nba.dtype)
    return (bins_n4ra.softmax(2) * values_r[:, None]).sum(2)  # no product of matrices: autocast would halve it


def corners(distances_n4a: Tensor, feats: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Boxes in pixels of the network's input.

    Args:
        distances_n4a: left, top, right, bottom in cells (N,4,A).
        feats: feature maps (N,C,H,W) of the levels, in the order of the anchors.
        strides: pixels per cell of each level.

    Returns:
        x0, y0, x1, y1 (N,4,A).
    """
    sizes = [(feat.shape[-2], feat.shape[-1]) for feat in feats]
    centre_2a, scale_a = anchor_points(sizes, strides, distances_n4a)
    near_n2a, far_n2a = distances_n4a[:, :2], distances_n4a[:, 2:]
    return torch.cat([centre_2a - near_n2a, centre_2a + far_n2a], 1) * scale_a
