"""The ends of the stages of a ResNet, torchvision's or timm's: its last BatchNorm, sum and ReLU."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.model.backbones.base import Backbone
from kd_yolo.reid.model.backbones.resnet import last_norm_of_block


def last_norms(backbone: Backbone) -> dict[str, nn.BatchNorm2d]:
    """The last BatchNorm of each stage, whose mean and deviation tell the margins of Overhaul distillation.

    Raises:
        ConfigError: the stages do not end in a BatchNorm, a sum and a ReLU.
    """
    return {stage: last_norm_of_block(module) for stage, module in residual_stages(backbone).items()}


def residual_stages(backbone: Backbone) -> Mapping[str, nn.Module]:
    """The stages of a ResNet, torchvision's or timm's: sequences of blocks that end in a sum and a ReLU.

    Raises:
        ConfigError: the backbone is none.
    """
    for stage in backbone.stages.values():
        blocks = list(stage.children())
        last = getattr(blocks[-1], "bn3", None) or getattr(blocks[-1], "bn2", None) if blocks else None
        if not isinstance(last, nn.BatchNorm2d) or final_relu(stage) is None:
            raise ConfigError(
                f"the stages of backbone '{backbone.name}' do not end in BatchNorm, sum and ReLU, which Overhaul"
                " distillation compares: set distill.overhaul_weight=0 and use distill.logit_weight or"
                " distill.relation_weight."
            )
    return backbone.stages


def final_relu(stage: nn.Module) -> nn.ReLU | None:
    """The ReLU that ends the last block: timm's ``act3`` or ``act2``, torchvision's one ``relu`` for all."""
    block = list(stage.children())[-1]
    for name in ("act3", "act2", "relu"):
        module = getattr(block, name, None)
        if isinstance(module, nn.ReLU):
            return module
    return None
