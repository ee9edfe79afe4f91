"""Widths of pruned networks: a checkpoint's weights tell them, its description those of the unpruned network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def fit_widths(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Gives convolutions and norms the widths of a pruned network's weights, in place; their values are not loaded.

    Args:
        model: built from the description of the unpruned network.
        state: weights by name.
    """
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        own = getattr(module, "weight", None)
        if weight is None or own is None or weight.shape == own.shape:
            continue
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.InstanceNorm2d):
            module.num_features = weight.shape[0]
        else:
            continue  # another kind of network: loading it says what differs
        for key, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            wanted = state.get(f"{name}.{key}")
            if wanted is not None and wanted.shape != value.shape:
                fresh = value.new_empty(wanted.shape)
                grown = nn.Parameter(fresh, value.requires_grad) if isinstance(value, nn.Parameter) else fresh
                setattr(module, key, grown)
