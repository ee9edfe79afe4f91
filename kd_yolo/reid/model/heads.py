"""Classifiers over identities: plain logits, and those with a margin that only training sees.

``head(f_nd, targets_n)`` gives the logits (N,K) of the ID loss; ``head.plain(f_nd)`` gives them without the margin,
``s * cos(theta)``, as soft labels need them. All are computed in float32 at least.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import Registry
from kd_yolo.losses.base import at_least_float32
from kd_yolo.losses.checks import NOT_NEGATIVE, POSITIVE, check_parameter

TINY = 1e-7  # of sin^2: keeps the root's gradient finite


class Head(nn.Module):
    """Base of the classifiers.

    Args:
        dim: length D of the features.
        num_identities: identities K.

    Attributes:
        weight_std: standard deviation of the first weights; the length of a row does not matter to a cosine.
    """

    weight_std: ClassVar[float] = 1.0

    def __init__(self, dim: int, num_identities: int) -> None:
        super().__init__()
        if num_identities < 1:
            raise ConfigError(f"a head over {num_identities} identities: expected at least 1.")
        self.weight = nn.Parameter(torch.empty(num_identities, dim))
        nn.init.normal_(self.weight, std=self.weight_std)

    @property
    def num_identities(self) -> int:
        """Identities K."""
        return self.weight.shape[0]

    def forward(self, f_nd: Tensor, targets_n: Tensor) -> Tensor:
        """The logits (N,K) that the ID loss takes.

        Args:
            f_nd: features after BNNeck.
            targets_n: index of each row's identity.
        """
        with torch.autocast(f_nd.device.type, enabled=False):
            is_target_nk = F.one_hot(targets_n, self.num_identities).bool()
            return self.with_margin(self.compare(at_least_float32(f_nd)), is_target_nk)

    def plain(self, f_nd: Tensor) -> Tensor:
        """The logits (N,K) without a margin."""
        with torch.autocast(f_nd.device.type, enabled=False):
            return self.scaled(self.compare(at_least_float32(f_nd)))

    def compare(self, f_nd: Tensor) -> Tensor:
        """The cosine (N,K) of each feature with each identity's weights."""
        weight_kd = self.weight.to(f_nd.dtype)
        return F.linear(F.normalize(f_nd), F.normalize(weight_kd)).clamp(-1, 1)

    @abstractmethod
    def scaled(self, cosine_nk: Tensor) -> Tensor:
        """``s * cos(theta)``."""

    @abstractmethod
    def with_margin(self, cosine_nk: Tensor, is_target_nk: Tensor) -> Tensor:
        """The training logits."""


heads: Registry[Head] = Registry("head", Head, group="kd_yolo.reid_heads")


@heads.register("linear")
class LinearHead(Head):
    """``W f`` without bias; no margin."""

    weight_std = 0.01

    def compare(self, f_nd: Tensor) -> Tensor:
        return F.linear(f_nd, self.weight.to(f_nd.dtype))

    def scaled(self, cosine_nk: Tensor) -> Tensor:
        return cosine_nk

    def with_margin(self, cosine_nk: Tensor, is_target_nk: Tensor) -> Tensor:
        assert is_target_nk.shape == cosine_nk.shape
        return cosine_nk


class MarginHead(Head):
    """Base of the cosine heads.

    Args:
        dim: length D of the features.
        num_identities: identities K.
        scale: s > 0.
        margin: m >= 0.

    Raises:
        ConfigError: a parameter is out of range.
    """

    name: str

    def __init__(self, dim: int, num_identities: int, scale: float, margin: float) -> None:
        super().__init__(dim, num_identities)
        check_parameter(self.name, "scale", scale, POSITIVE, usual=64.0)
        check_parameter(self.name, "margin", margin, NOT_NEGATIVE, usual=0.35)
        self.scale, self.margin = scale, margin

    def scaled(self, cosine_nk: Tensor) -> Tensor:
        return self.scale * cosine_nk


@heads.register("arcface")
class ArcFaceHead(MarginHead):
    """``s * cos(theta + m)`` of the target.

    Past ``theta = pi - m``, where that would rise again, it is ``s * (cos(theta) - m sin(m))``.

    References:
        Deng et al., "ArcFace", CVPR 2019, arXiv 1801.07698, equation 3.
    """

    name = "arcface"

    def __init__(self, dim: int, num_identities: int, scale: float = 30.0, margin: float = 0.5) -> None:
        super().__init__(dim, num_identities, scale, margin)

    def with_margin(self, cosine_nk: Tensor, is_target_nk: Tensor) -> Tensor:
        sine_nk = (1 - cosine_nk.square()).clamp(min=TINY).sqrt()
        moved_nk = cosine_nk * math.cos(self.margin) - sine_nk * math.sin(self.margin)
        far_nk = cosine_nk - self.margin * math.sin(self.margin)
        moved_nk = torch.where(cosine_nk > -math.cos(self.margin), moved_nk, far_nk)
        return self.scale * torch.where(is_target_nk, moved_nk, cosine_nk)


@heads.register("cosface")
class CosFaceHead(MarginHead):
    """``s * (cos(theta) - m)`` of the target.

    References:
        Wang et al., "CosFace", CVPR 2018, arXiv 1801.09414, equation 4.
    """

    name = "cosface"

    def __init__(self, dim: int, num_identities: int, scale: float = 30.0, margin: float = 0.35) -> None:
        super().__init__(dim, num_identities, scale, margin)

    def with_margin(self, cosine_nk: Tensor, is_target_nk: Tensor) -> Tensor:
        return self.scale * (cosine_nk - self.margin * is_target_nk)


@heads.register("circle")
class CircleHead(MarginHead):
    """``gamma a_p (cos - (1 - m))`` of the target, ``gamma a_n (cos - m)`` of the others.

    ``a_p = [1 + m - cos]+`` and ``a_n = [cos + m]+`` carry no gradient.

    References:
        Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, arXiv 2002.10857,
        the form with class-level labels: the softmax cross-entropy of these logits is the loss.
    """

    name = "circle"

    def __init__(self, dim: int, num_identities: int, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__(dim, num_identities, scale, margin)

    def with_margin(self, cosine_nk: Tensor, is_target_nk: Tensor) -> Tensor:
        fixed_nk = cosine_nk.detach()
        target_nk = (1 + self.margin - fixed_nk).clamp(min=0) * (cosine_nk - (1 - self.margin))
        other_nk = (fixed_nk + self.margin).clamp(min=0) * (cosine_nk - self.margin)
        return self.scale * torch.where(is_target_nk, target_nk, other_nk)


def build_head(name: str, dim: int, num_identities: int) -> Head:
    """A head by name: linear, arcface, cosface or circle, with the margin of its paper.

    Raises:
        ConfigError: unknown name; the message has the nearest spelling.
    """
    return heads.build(name, dim=dim, num_identities=num_identities)
