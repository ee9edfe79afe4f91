"""The masks of fgd: which cells a box covers, and what they weigh."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.losses.fgd_masks import background_mask, foreground_mask

from .fgd_naive import IMAGE_HW, SHAPE, context, naive_masks
from .properties import few_examples, random

box = st.tuples(*[st.integers(-8, 48)] * 2, *[st.integers(0, 30)] * 2)


@few_examples
@given(corners=st.lists(st.lists(box, max_size=4), min_size=1, max_size=3), size=st.tuples(*[st.integers(1, 6)] * 2))
def test_masks(corners: list[list[Any]], size: tuple[int, int]) -> None:
    """Boxes of whole pixels, some partly or wholly outside, on maps of any size."""
    boxes = [[[x, y, x + w, y + h] for x, y, w, h in image] for image in corners]
    map_nchw = torch.zeros(len(boxes), 2, *size)
    fg = foreground_mask(context(boxes)["boxes_xyxy"], IMAGE_HW, map_nchw)
    bg = background_mask(fg)
    assert fg.shape == bg.shape == (len(boxes), 1, *size)
    assert fg.dtype == bg.dtype == torch.float32
    for image in range(len(boxes)):
        own_fg, own_bg = (torch.tensor(x) for x in naive_masks(boxes[image], IMAGE_HW, *size))
        assert torch.allclose(fg[image, 0], own_fg, rtol=1e-6, atol=0)
        assert torch.allclose(bg[image, 0], own_bg, rtol=1e-6, atol=0)


def test_a_box_on_cell_borders_and_a_point() -> None:
    """Inclusive on both ends: 8..16 pixels at stride 8 is the cells 1 and 2; a point on a border is one cell."""
    mask = foreground_mask(
        context([[[8.0, 8.0, 16.0, 16.0]], [[8.0, 8.0, 8.0, 8.0]]])["boxes_xyxy"], IMAGE_HW, random(*SHAPE)
    )
    expected = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    expected[0, 0, 1:3, 1:3] = 1 / 4
    expected[1, 0, 1, 1] = 1
    assert torch.equal(mask, expected)


@pytest.mark.parametrize(("num_cells", "stride"), [(640, 1), (416, 1), (80, 8), (100, 3), (60, 41)])
def test_borders_stay_sharp_in_float32(num_cells: int, stride: int) -> None:
    """A border that lies on a cell's edge must not slip into the next cell by a rounding error."""
    map_nchw = torch.zeros(1, 1, 1, num_cells)
    for cell in range(num_cells):
        x = cell * stride
        mask = foreground_mask([torch.tensor([[x, 0.0, x, 0.0]])], (1, num_cells * stride), map_nchw)
        assert mask.count_nonzero() == 1
        assert mask[0, 0, 0, cell] == 1


def test_the_smaller_box_wins_where_two_overlap() -> None:
    boxes = [[[0.0, 0.0, 31.0, 31.0], [9.0, 9.0, 15.0, 15.0]]]
    small, both = (
        foreground_mask(context([b])["boxes_xyxy"], (64, 64), random(1, 1, 8, 8)) for b in (boxes[0][1:], boxes[0])
    )
    assert (both[small > 0] == small[small > 0]).all()
    assert torch.equal(both, foreground_mask(context([boxes[0][::-1]])["boxes_xyxy"], (64, 64), random(1, 1, 8, 8)))
    assert both.unique().tolist() == [0, 1 / 25, 1 / 4]


def test_a_box_over_the_whole_image_leaves_no_background() -> None:
    fg = foreground_mask(context([[[0.0, 0.0, 40.0, 32.0]]])["boxes_xyxy"], IMAGE_HW, random(1, 3, 4, 5))
    assert (fg > 0).all()
    assert torch.equal(background_mask(fg), torch.zeros(1, 1, 4, 5, dtype=torch.float64))
