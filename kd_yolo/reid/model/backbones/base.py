"""The contract of every backbone, and the registry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from kd_yolo.base.registry import Registry


class Backbone(nn.Module):
    """Crops (N,3,H,W) in, the map of each stage out.

    A registered class takes of ``name`` (the one it is built by), ``last_stride`` (1 or 2) and ``size_hw`` (height and
    width of the input in pixels) what its constructor names.

    Attributes:
        name: as checkpoints store it.
    """

    name: str

    @property
    @abstractmethod
    def stages(self) -> Mapping[str, nn.Module]:
        """The modules that end the stages, by name in order; the last name is ``layer4``."""

    @property
    @abstractmethod
    def channels(self) -> Mapping[str, int]:
        """Channels of each stage's map, by the same names."""

    @abstractmethod
    def forward(self, x_nchw: Tensor) -> dict[str, Tensor]:
        """The map (N,C,H,W) of each stage, in order."""
        raise NotImplementedError


backbones: Registry[Backbone] = Registry("backbone", Backbone, group="kd_yolo.reid_backbones")
