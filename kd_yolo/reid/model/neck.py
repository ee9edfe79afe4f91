"""BNNeck: one feature for the metric losses, and the same after BatchNorm for the classifier and the search."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_yolo.base.registry import Registry
from kd_yolo.losses.base import at_least_float32

pools: Registry[nn.Module] = Registry("pool", nn.Module, group="kd_yolo.reid_pools")


@pools.register("gem")
class GeM(nn.Module):
    """``(mean_hw max(x, eps)^p)^(1/p)`` with a learned p: the mean at p = 1, the maximum as p grows.

    Args:
        p: exponent at the start.
        eps: smallest value, so that the root has a finite gradient.

    References:
        Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, arXiv 1711.02512.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, x_nchw: Tensor) -> Tensor:
        """The pooled features (N,C), in float32 at least."""
        with torch.autocast(x_nchw.device.type, enabled=False):
            powers_nchw = at_least_float32(x_nchw).clamp(min=self.eps).pow(self.p)
            return powers_nchw.mean((2, 3)).pow(1 / self.p)


@pools.register("avg")
class AveragePool(nn.Module):
    """``mean_hw x``."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """The pooled features (N,C)."""
        return x_nchw.mean((2, 3))


@pools.register("max")
class MaxPool(nn.Module):
    """``max_hw x``."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """The pooled features (N,C)."""
        return x_nchw.amax((2, 3))


class BNNeck(nn.Module):
    """Pool, an optional projection, then BatchNorm.

    Args:
        channels: channels C of the map.
        dim: length D of the features; 0 keeps C, without a projection.
        pool: a registered name: ``avg``, ``gem`` or ``max``.

    Raises:
        ConfigError: unknown pool.

    References:
        Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person Re-identification", CVPRW 2019,
        arXiv 1903.07071, section 3.5: the bias of the norm stays 0.
    """

    def __init__(self, channels: int, dim: int = 0, pool: str = "avg") -> None:
        super().__init__()
        self.pool = pools.get(pool)()
        self.project = nn.Linear(channels, dim, bias=False) if dim else nn.Identity()
        self.norm = nn.BatchNorm1d(dim or channels)
        self.norm.bias.requires_grad_(False)

    @property
    def dim(self) -> int:
        """Length D of the features."""
        return self.norm.num_features

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """``f_t`` (N,D) for the metric losses and ``f_i = BN(f_t)`` (N,D) for the classifier and the search."""
        f_t_nd = self.project(self.pool(x_nchw))
        return f_t_nd, self.norm(f_t_nd)


def unit_rows(x: Tensor) -> Tensor:
    """Divides by the length along the last axis, in float32 at least."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(at_least_float32(x), dim=-1)
