"""BatchNorm statistics after cutting: the old ones belong to channels that had other inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_yolo.base.errors import InputError


def recalibrate(model: nn.Module, images: Iterable[Tensor], forward: Callable[[Any, Tensor], object]) -> int:
    """Re-estimates the running statistics of all BatchNorms: the plain average over batches.

    Nothing else changes: no gradients, no dropout; layers that do not run keep what they have.

    Args:
        model: in any mode, which it has again afterwards.
        images: (N,C,H,W) each, on the model's device; each batch counts the same.
        forward: ``forward(model, image_nchw)`` runs every BatchNorm, those of training-only branches included.

    Returns:
        The number of batches.

    Raises:
        InputError: no images, or statistics that are not finite.
    """
    norms: list[Any] = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    count = 0
    try:
        with torch.no_grad():
            for image_nchw in images:
                forward(model, image_nchw)
                count += 1
    finally:
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            if not norm.num_batches_tracked:
                norm.load_state_dict(buffers, strict=False)
        for module, mode in modes.items():
            module.training = mode
    if count == 0:
        raise InputError("no images to estimate BatchNorm statistics on.")
    _require_finite(model)
    return count


def _require_finite(model: nn.Module) -> None:
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and not buffer.isfinite().all():
            raise InputError(f"{name} is not finite after recalibration: the model's weights are damaged.")
