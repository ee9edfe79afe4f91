"""Which BatchNorm layers sparse training works on."""

from __future__ import annotations

from typing import Any

from torch import nn
from ultralytics.nn.modules.block import AAttn, Attention, Proto
from ultralytics.nn.modules.head import RTDETRDecoder
from ultralytics.nn.modules.transformer import AIFI

from kd_yolo.errors import ConfigError
from kd_yolo.registry import nearest


def default_norms(model: nn.Module) -> list[str]:
    """Names of the BatchNorm layers behind channels that pruning can reach, by the kind of module they are in.

    All but those in attention, in RT-DETR's decoder, and of the mask prototypes, whose widths are fixed.
    """
    fixed: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, Attention | AAttn | AIFI | RTDETRDecoder):
            fixed.update(module.modules())
        elif isinstance(module, Proto):
            fixed.update(module.cv3.modules())
    return [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and m not in fixed]


def find_gammas(model: nn.Module, names: list[str] | None) -> dict[str, nn.Parameter]:
    """The gammas of BatchNorm layers that train, by the layer's name.

    Args:
        model: a YOLO task model.
        names: of BatchNorm layers; None is :func:`default_norms`.

    Raises:
        ConfigError: a name that is no BatchNorm layer's, or nothing left that trains.
    """
    layers: dict[str, Any] = dict(model.named_modules())
    norms = [name for name, layer in layers.items() if isinstance(layer, nn.BatchNorm2d)]
    chosen = default_norms(model) if names is None else names
    for name in chosen:
        if name not in norms:
            raise ConfigError(f"norms: the model has no BatchNorm layer '{name}'.{nearest(name, norms)}")
    found = {name: layers[name].weight for name in chosen if layers[name].weight.requires_grad}
    if not found:
        raise ConfigError(
            "sparse training has no BatchNorm layer to work on: set freeze= lower, or name others in norms."
        )
    return found
