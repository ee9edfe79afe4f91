"""Any network of timm as a backbone: its stages where timm can give them, else its last features."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.extras import require
from kd_yolo.reid.model.backbones.base import Backbone
from kd_yolo.reid.model.settings import STAGES

_LOG = logging.getLogger(__name__)


class TimmBackbone(Backbone):
    """A timm network without its classifier.

    Its last four feature levels are called layer1 to layer4; a network with fewer levels has the last of these names.

    Args:
        name: as timm knows it.
        last_stride: 1 takes the stride out of the last stage, 2 leaves the network as it is.
        size_hw: height and width of the input; networks with a fixed grid are built for it.
        pretrained: ``create_model`` arguments that load weights; none gives random ones.

    Attributes:
        name: ``timm:`` and the name.

    Raises:
        ConfigError: the network cannot be built for this size, or the last stride cannot be taken out.
    """

    def __init__(
        self, name: str, last_stride: int, size_hw: tuple[int, int], pretrained: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.name = f"timm:{name}"
        arguments: dict[str, Any] = {"pretrained": False, **(pretrained or {})}
        config = require("timm").get_pretrained_cfg(name)
        if config is not None and config.fixed_input_size:
            arguments["img_size"] = size_hw
        self.body, self.gives_stages = _create(name, arguments)
        if last_stride == 1 and self.gives_stages:
            self._remove_last_stride()
        self._channels = self._measure(size_hw, last_stride)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The modules that end the stages."""
        if not self.gives_stages:
            return {STAGES[-1]: self.body}
        names = self.body.feature_info.module_name()[-len(STAGES) :]
        return dict(zip(STAGES[-len(names) :], (self._module(name) for name in names), strict=True))

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each stage's map."""
        return self._channels

    def forward(self, x_nchw: Tensor) -> dict[str, Tensor]:
        """The map (N,C,H,W) of each stage, in order."""
        if not self.gives_stages:
            return {STAGES[-1]: self._as_map(self.body.forward_features(x_nchw), self.body.num_features)}
        maps = self.body(x_nchw)[-len(STAGES) :]
        widths = self.body.feature_info.channels()[-len(maps) :]
        named = zip(STAGES[-len(maps) :], maps, widths, strict=True)
        return {stage: self._as_map(map_nchw, width) for stage, map_nchw, width in named}

    def _as_map(self, x: Tensor, channels: int) -> Tensor:
        """Tokens (N,T,C) become (N,C,T,1) without class tokens; (N,H,W,C) becomes (N,C,H,W)."""
        if x.ndim == 3:
            return x[:, getattr(self.body, "num_prefix_tokens", 0) :].transpose(1, 2).unsqueeze(-1)
        return x if x.shape[1] == channels else x.permute(0, 3, 1, 2)

    def _module(self, name: str) -> nn.Module:
        """A module by timm's name; its list of features joins the first dots to underscores."""
        known: dict[str, nn.Module] = dict(self.body.named_modules())
        return next(known[key] for key in (name, name.replace(".", "_"), f"model.{name}") if key in known)

    def _remove_last_stride(self) -> None:
        """Sets stride 1 in every convolution after the last stage but one, and takes out the pool of a shortcut."""
        ends = list(self.stages.values())
        if len(ends) < 2:
            return
        before = set(ends[-2].modules())
        named = list(self.body.named_modules())
        start = max(i for i, (_, module) in enumerate(named) if module in before) + 1
        for name, module in named[start:]:
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
            if isinstance(module, nn.AvgPool2d) and module.stride == 2:
                parent, _, child = name.rpartition(".")
                setattr(self.body.get_submodule(parent), child, nn.Identity())

    def _measure(self, size_hw: tuple[int, int], last_stride: int) -> dict[str, int]:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                maps = self(torch.zeros(1, 3, *size_hw))
        except (RuntimeError, AssertionError, ValueError) as error:
            height, width = size_hw
            raise ConfigError(
                f"backbone '{self.name}' with last_stride={last_stride} does not take an input of {height}x{width}:"
                f" {error}. Use network.last_stride=2, another network.height and width, or another network.backbone."
            ) from error
        self.train(training)
        sizes = [tuple(map_nchw.shape[2:]) for map_nchw in maps.values()][-2:]
        if last_stride == 1 and len(set(sizes)) > 1:
            raise ConfigError(
                f"the last stride of backbone '{self.name}' cannot be taken out (maps {sizes}):"
                " use network.last_stride=2."
            )
        return {stage: map_nchw.shape[1] for stage, map_nchw in maps.items()}


def _create(name: str, arguments: dict[str, Any]) -> tuple[Any, bool]:
    """The network, and whether it gives the maps of its stages."""
    create = require("timm").create_model
    try:
        return create(name, features_only=True, **arguments), True
    except (AttributeError, NotImplementedError, AssertionError) as error:
        _LOG.debug("timm gives no stages of %s: %r", name, error)
    try:
        return create(name, num_classes=0, **arguments), False
    except (AssertionError, NotImplementedError) as error:
        reason = str(error) or "timm refuses it"
        raise ConfigError(
            f"backbone 'timm:{name}' cannot be built for an input of {arguments.get('img_size', 'any size')}: {reason}."
            " Use another network.height and width, or another network.backbone."
        ) from error
