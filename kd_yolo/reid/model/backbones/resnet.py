"""ResNets of torchvision as backbones, with IBN-a and the last stride as options."""

from __future__ import annotations

from typing import cast

import torchvision
from torch import Tensor, nn

from kd_yolo.reid.model.backbones.base import Backbone, backbones
from kd_yolo.reid.model.backbones.ibn import replace_first_norms
from kd_yolo.reid.model.settings import STAGES

IBN_SUFFIX = "_ibn_a"
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
RESNET_NAMES = (*RESNETS, *(name + IBN_SUFFIX for name in RESNETS))


class ResNetBackbone(Backbone):
    """A ResNet without its classifier; the names of its weights are torchvision's.

    Args:
        name: one of ``RESNET_NAMES``.
        last_stride: stride of the last stage; 1 gives a map twice as high and wide (Luo et al. 2019, arXiv 1903.07071).

    Attributes:
        name: as given.
        stages: the stages by name, in order; the output of each is its map after the ReLU.
    """

    def __init__(self, name: str, last_stride: int = 1) -> None:
        super().__init__()
        net = getattr(torchvision.models, name.removesuffix(IBN_SUFFIX))(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.name = name
        if name.endswith(IBN_SUFFIX):
            replace_first_norms(list(self.stages.values())[:3])
        set_stride(self.stages[STAGES[-1]], last_stride)

    @property
    def stages(self) -> dict[str, nn.Module]:
        return {stage: self.get_submodule(stage) for stage in STAGES}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each stage's map."""
        return {stage: last_norm_of_block(module).num_features for stage, module in self.stages.items()}

    def forward(self, x_nchw: Tensor) -> dict[str, Tensor]:
        """The map (N,C,H,W) of each stage, in order."""
        x_nchw = self.maxpool(self.relu(self.bn1(self.conv1(x_nchw))))
        maps: dict[str, Tensor] = {}
        for stage, module in self.stages.items():
            maps[stage] = x_nchw = module(x_nchw)
        return maps


def set_stride(stage: nn.Module, stride: int) -> None:
    """Gives the first block of a stage another stride: the convolution that has one, and its shortcut."""
    for module in next(stage.children()).modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (stride, stride)


def last_norm_of_block(stage: nn.Module) -> nn.BatchNorm2d:
    """The norm before the sum that ends a stage: ``bn3`` of a bottleneck, else ``bn2``."""
    block = list(stage.children())[-1]
    return cast(nn.BatchNorm2d, getattr(block, "bn3", None) or block.bn2)


for _name in RESNET_NAMES:
    backbones.register(_name)(ResNetBackbone)
