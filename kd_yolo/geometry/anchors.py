"""Where the anchor points of a head with several levels lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def anchor_points(sizes: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """The middles of all cells, level by level, row by row.

    Args:
        sizes: rows and columns of each level.
        strides: pixels per cell of each level.
        like: gives device and type of what is returned.

    Returns:
        x and y in cells of the own level (2,A); pixels per cell (A).
    """
    kind: Any = {"device": like.device, "dtype": like.dtype}
    centres, scales = [], []
    for (height, width), stride in zip(sizes, strides, strict=True):
        rows, columns = torch.meshgrid(torch.arange(height, **kind), torch.arange(width, **kind), indexing="ij")
        centres.append(torch.stack([columns.flatten(), rows.flatten()]) + 0.5)
        scales.append(torch.full((height * width,), float(stride), **kind))
    return torch.cat(centres, 1), torch.cat(scales)
