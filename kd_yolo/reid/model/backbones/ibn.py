"""IBN-a: half of the channels normalised by image, which removes style, the rest by batch, which keeps content."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the others.

    Args:
        channels: channels of the map, at least 2.

    References:
        Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net", ECCV 2018,
        arXiv 1807.09441, figure 3a. The parts are called IN and BN as in the authors' published weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.IN = nn.InstanceNorm2d(half, affine=True)
        self.BN = nn.BatchNorm2d(channels - half)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """The normalised map, of the same shape."""
        sizes = [self.IN.num_features, self.BN.num_features]
        by_image, by_batch = torch.split(x_nchw, sizes, dim=1)
        return torch.cat((self.IN(by_image.contiguous()), self.BN(by_batch.contiguous())), dim=1)


def replace_first_norms(stages: Iterable[nn.Module]) -> None:
    """Turns ``bn1``, the first norm of every residual block, into an :class:`IBN`, in place.

    Args:
        stages: stages of a torchvision ResNet; IBN-a takes the first three.
    """
    for stage in stages:
        for block in stage.children():
            assert isinstance(block.bn1, nn.BatchNorm2d), f"bn1 is a {type(block.bn1).__name__}"
            block.bn1 = IBN(block.bn1.num_features)
