"""From a name to a backbone: a registered one, or a network of timm."""

from __future__ import annotations

from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.extras import install_line, is_installed, require
from kd_yolo.base.registry import nearest
from kd_yolo.reid.model.backbones.base import Backbone, backbones
from kd_yolo.reid.model.backbones.timm_backbone import TimmBackbone

TIMM_PREFIX = "timm:"


def full_name(name: str) -> str:
    """The name of a backbone as checkpoints store it: a registered one, or ``timm:NAME``.

    Raises:
        ConfigError: unknown name; the message has the nearest spelling.
        MissingDependencyError: it asks for timm, which is not installed.
    """
    if name in backbones:
        return name
    if name.startswith(TIMM_PREFIX):
        require("timm", purpose=f"backbone {name}")
    bare = name.removeprefix(TIMM_PREFIX)
    from_timm = require("timm").list_models() if is_installed("timm") else []
    if bare.split(".")[0] in from_timm:
        return TIMM_PREFIX + bare
    own = backbones.names()
    hint = nearest(name, own) or nearest(bare, from_timm)
    if name.startswith(TIMM_PREFIX):
        hint = nearest(bare, from_timm).replace("'", f"'{TIMM_PREFIX}", 1)
    raise ConfigError(
        f"unknown backbone '{name}'.{hint} Known: {', '.join(own)},"
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
    given = {"name": name, "last_stride": last_stride, "size_hw": size_hw}
    return backbones.build(name, **{key: given[key] for key in backbones.parameters(name) if key in given})
