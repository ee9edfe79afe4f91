"""Several processes as one: the batch of all ranks, gradients of all ranks, BatchNorm statistics of all ranks.

Every rank computes the losses on the features of the whole batch, so that the hardest triplet is the hardest of all and
two processes train as one process with the same global batch does. ``torchrun --nproc-per-node 2 -m kd_yolo.cli.app
reid train ...`` starts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_yolo.losses.base import at_least_float32


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes:
        rank: of this one.
        size: how many.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


def join_world(device: torch.device) -> World:
    """Joins the processes that ``torchrun`` started; a world of one without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size())


def leave_world(world: World) -> None:
    """Ends what :func:`join_world` began."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Concatenates the tensors of all ranks; the gradient of a rank's rows is the sum over all ranks."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all ranks, and the sum of its gradients on the way back."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


def gather(x: Tensor, world: World) -> Tensor:
    """Rows of all ranks, in rank order; differentiable. Every rank must have equally many.

    With the same loss on every rank, the mean over ranks of the gradients (:func:`average_gradients`) is the
    gradient of that loss.
    """
    if world.size == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replaces every gradient by its mean over the ranks; in one message a dtype."""
    if world.size == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            by_type.setdefault(parameter.dtype, []).append(parameter.grad)
    for gradients in by_type.values():
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= world.size
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def average(values: Tensor, world: World) -> Tensor:
    """The mean of a tensor over the ranks, without gradient; for figures that each rank has of its own share."""
    if world.size == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world.size


def synchronise_norms(model: nn.Module, world: World) -> None:
    """Gives every BatchNorm the statistics of all ranks; torch's own SyncBatchNorm does that on GPUs only."""
    if world.size > 1:
        for module in model.modules():
            if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
                module.__class__ = SYNCED[type(module)]


class _Synced(nn.Module):
    """BatchNorm whose training statistics are those of the whole batch of all ranks."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)  # type: ignore[no-any-return]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = x.numel() // x.shape[1] * dist.get_world_size()
        values = at_least_float32(x)
        mean_c = _total(values.sum(axes)) / count
        centred = values - mean_c.view(shape)
        variance_c = _total(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean_c.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance_c * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        y = centred * torch.rsqrt(variance_c + self.eps).view(shape)
        scaled: Tensor = y * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(x.dtype)


def _total(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)
    return total


class _Synced1d(_Synced, nn.BatchNorm1d):
    pass


class _Synced2d(_Synced, nn.BatchNorm2d):
    pass


SYNCED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _Synced1d, nn.BatchNorm2d: _Synced2d}
