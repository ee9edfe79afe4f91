"""Backbones by name: torchvision's ResNets, their IBN-a variants, and every network of timm."""

from __future__ import annotations

from typing import Any

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.extras import install_line, is_installed, require
from kd_yolo.base.registry import nearest
from kd_yolo.reid.model.resnet import RESNET_NAMES, ResNetBackbone, last_norm_of_block
from kd_yolo.reid.model.timm_backbone import TimmBackbone

TIMM_PREFIX = "timm:"
Backbone = ResNetBackbone | TimmBackbone


def full_name(name: str) -> str:
    """The name of a backbone as checkpoints store it: a ResNet's, or ``timm:NAME``.

    Raises:
        ConfigError: nobody knows it; the message has the nearest spelling.
        MissingDependencyError: it asks for timm, which is not installed.
    """
    if name in RESNET_NAMES:
        return name
    if name.startswith(TIMM_PREFIX):
        require("timm", purpose=f"backbone {name}")
    bare = name.removeprefix(TIMM_PREFIX)
    from_timm = require("timm").list_models() if is_installed("timm") else []
    if bare.split(".")[0] in from_timm:
        return TIMM_PREFIX + bare
    hint = nearest(name, RESNET_NAMES) or nearest(bare, from_timm)
    if name.startswith(TIMM_PREFIX):
        hint = nearest(bare, from_timm).replace("'", f"'{TIMM_PREFIX}", 1)
    raise ConfigError(
        f"unknown backbone '{name}'.{hint} Known: {', '.join(RESNET_NAMES)},"
        f" or any timm network as {TIMM_PREFIX}NAME"
        f"{'' if from_timm else ' once timm is installed: ' + install_line('timm')}."
    )


def random_backbone(
    name: str, *, last_stride: int, size_hw: tuple[int, int], timm_weights: dict[str, Any] | None = None
) -> Backbone:
    """A backbone with random weights.

    Args:
        name: as a user writes it.
        last_stride: stride of the last stage, 1 or 2.
        size_hw: height and width of the input in pixels.
        timm_weights: ``create_model`` arguments by which timm loads weights itself.

    Returns:
        A module that maps (N,3,H,W) to the maps of its ``stages`` by name, and knows its ``channels``.

    Raises:
        ConfigError: unknown name, or the network does not fit the size or the stride.
    """
    if last_stride not in (1, 2):
        raise ConfigError(f"last_stride is {last_stride!r}, expected 1 or 2: network.last_stride=1.")
    name = full_name(name)
    if name.startswith(TIMM_PREFIX):
        return TimmBackbone(name.removeprefix(TIMM_PREFIX), last_stride, size_hw, timm_weights)
    return ResNetBackbone(name, last_stride)


def last_norms(backbone: Backbone) -> dict[str, nn.BatchNorm2d]:
    """The last BatchNorm of each stage, whose mean and deviation tell the margins of Overhaul distillation.

    Raises:
        ConfigError: the stages do not end in a BatchNorm, a sum and a ReLU.
    """
    return {stage: last_norm_of_block(module) for stage, module in residual_stages(backbone).items()}


def residual_stages(backbone: Backbone) -> dict[str, nn.Module]:
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
