"""Facts of a model that the rest of the project relies on."""

from __future__ import annotations

from torch import nn

from kd_yolo.yolo.heads import input_channels


def test_input_channels_are_those_of_the_image_also_for_a_grouped_first_layer() -> None:
    assert input_channels(nn.Sequential(nn.Conv2d(6, 12, 3, groups=3), nn.Conv2d(12, 4, 1))) == 6
