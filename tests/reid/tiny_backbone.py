"""A ResNet of one narrow block a stage: most tests of ReID need none of ResNet-18's eleven million weights."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torchvision.models.resnet import BasicBlock

from kd_yolo.reid.model.backbones import backbones
from kd_yolo.reid.model.backbones.resnet import ResNetBackbone, set_stride

WIDTHS = (8, 8, 16, 16, 32)


@backbones.register("tiny_resnet")
class TinyResNet(ResNetBackbone):
    """Strides and names as those of ResNet-18; known where this module was imported."""

    def __init__(self, name: str, last_stride: int = 1) -> None:
        nn.Module.__init__(self)
        self.name = name
        self.conv1, self.bn1 = nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False), nn.BatchNorm2d(WIDTHS[0])
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        for number, (before, width) in enumerate(pairwise(WIDTHS), 1):
            stride = 1 if number == 1 else 2
            shortcut = None
            if stride == 2:
                shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            setattr(self, f"layer{number}", nn.Sequential(BasicBlock(before, width, stride, shortcut)))
        set_stride(self.layer4, last_stride)
