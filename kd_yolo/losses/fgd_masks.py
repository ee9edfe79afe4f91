"""Foreground and background masks of FGD: boxes in pixels to weights of the cells of a feature map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError


def check_boxes(boxes_xyxy: Any, image_hw: Any, num_images: int) -> tuple[list[Tensor], tuple[float, float]]:
    """Boxes of every image, detached, and the image's height and width.

    Raises:
        ConfigError: not one (M,4) tensor of finite, ordered corners for every image, or a size that is no size.
    """
    boxes = [x.detach() for x in boxes_xyxy if isinstance(x, Tensor)] if isinstance(boxes_xyxy, Sequence) else []
    if len(boxes) != num_images or any(x.dim() != 2 or x.shape[1] != 4 for x in boxes):
        raise ConfigError(
            f"loss 'fgd': boxes_xyxy is {_shown(boxes_xyxy)}, expected a list of {num_images} tensors (M,4), one for"
            " each image: x0, y0, x1, y1 in pixels of the padded input, torch.zeros(0, 4) where there is none."
        )
    size = image_hw.tolist() if isinstance(image_hw, Tensor) else image_hw
    if not isinstance(size, Sequence) or len(size) != 2 or not all(_is_length(x) for x in size):
        raise ConfigError(f"loss 'fgd': image_hw is {size!r}, expected height and width of the input in pixels.")
    corners_m4 = torch.cat([x.float() for x in boxes])
    if not bool((corners_m4.isfinite().all(1) & (corners_m4[:, :2] <= corners_m4[:, 2:]).all(1)).all()):
        raise ConfigError(
            "loss 'fgd': boxes_xyxy has corners that are not finite or the wrong way round, expected x0 <= x1 and"
            " y0 <= y1. Are these centres and sizes? Convert them to corners first."
        )
    return boxes, (size[0], size[1])


def _is_length(x: Any) -> bool:
    return isinstance(x, Real) and 0 < float(x) < math.inf


def _shown(boxes_xyxy: Any) -> str:
    if not isinstance(boxes_xyxy, Sequence):
        return f"a {type(boxes_xyxy).__name__}"
    return f"{[tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in boxes_xyxy]}"


def foreground_mask(boxes_xyxy: Sequence[Tensor], image_hw: tuple[float, float], map_nchw: Tensor) -> Tensor:
    """``1 / (h * w)`` inside a box of h x w cells, the largest where boxes overlap, 0 outside.

    A box covers the cells ``floor(x0)`` to ``ceil(x1)``, both included, as in the authors' code. h and w count these
    cells before the map's border cuts them off, as there.

    Args:
        boxes_xyxy: boxes (M,4) of every image, in pixels of the input.
        image_hw: height and width of the input in pixels.
        map_nchw: the map whose size, dtype and device the mask gets.

    Returns:
        The mask (N,1,H,W).
    """
    return torch.stack([_mask_of_image(boxes_m4.to(map_nchw), image_hw, map_nchw) for boxes_m4 in boxes_xyxy])


def _mask_of_image(boxes_m4: Tensor, image_hw: tuple[float, float], map_nchw: Tensor) -> Tensor:
    height, width = map_nchw.shape[2:]
    if len(boxes_m4) == 0:
        return map_nchw.new_zeros(1, height, width)
    inside_mw, columns_m = _cover(boxes_m4[:, 0], boxes_m4[:, 2], image_hw[1], width)
    inside_mh, rows_m = _cover(boxes_m4[:, 1], boxes_m4[:, 3], image_hw[0], height)
    value_m11 = 1 / (rows_m * columns_m).reshape(-1, 1, 1)
    return torch.where(inside_mh.unsqueeze(2) & inside_mw.unsqueeze(1), value_m11, 0).amax(0, keepdim=True)


def _cover(low_m: Tensor, high_m: Tensor, size_px: float, num_cells: int) -> tuple[Tensor, Tensor]:
    """Along one axis: which cells of the map each box covers (M,cells), and how many it covers with those outside."""
    # First times the cells, then by the pixels: whole numbers stay exact, and floor and ceil sharp.
    first_m, last_m = (low_m * num_cells / size_px).floor(), (high_m * num_cells / size_px).ceil()
    cells_1p = torch.arange(num_cells, device=low_m.device).unsqueeze(0)
    inside_mp = (cells_1p >= first_m.unsqueeze(1)) & (cells_1p <= last_m.unsqueeze(1))
    return inside_mp, last_m - first_m + 1


def background_mask(foreground_n1hw: Tensor) -> Tensor:
    """``1 / (number of background cells of the image)`` outside all boxes, 0 inside; all 0 when nothing is outside."""
    outside_n1hw = (foreground_n1hw == 0).to(foreground_n1hw)
    return outside_n1hw / outside_n1hw.sum((1, 2, 3), keepdim=True).clamp(min=1)
