"""Numbers that ultralytics' blocks keep beside their layers: after cutting they must say the new widths."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from ultralytics.nn.modules.block import SPPELAN, ADown, C3x, CBLinear, RepVGGDW
from ultralytics.nn.modules.conv import RepConv

from kd_yolo.yolo.families import halves, head_like


def synchronise(model: Any, kept: Mapping[str, Sequence[int]]) -> None:
    """Sets every width that a block of ``model`` keeps as a number to that of its layers.

    Args:
        model: a YOLO task model, just cut.
        kept: by layer name, which of its output channels are left.
    """
    for name, module in model.named_modules():
        if isinstance(module, CBLinear):
            bounds = [0, *accumulate(module.c2s)]
            left = kept[f"{name}.conv"]
            module.c2s = [bisect_left(left, b) - bisect_left(left, a) for a, b in pairwise(bounds)]
        _synchronise(module)
    for layer in model.model:
        layer.np = sum(parameter.numel() for parameter in layer.parameters())


def _synchronise(block: Any) -> None:
    head = head_like(block)
    if halves(block) and hasattr(block, "c"):
        block.c = block.cv1.conv.out_channels // 2
    elif isinstance(block, ADown | SPPELAN):
        block.c = block.cv1.conv.out_channels
    elif isinstance(block, C3x):
        block.c_ = block.cv1.conv.out_channels
    elif isinstance(block, RepConv):
        block.c1, block.c2 = block.conv1.conv.in_channels, block.conv1.conv.out_channels
    elif isinstance(block, RepVGGDW):
        block.dim = block.conv.conv.out_channels
    elif head is not None and head.prototypes != "none":
        block.npr = block.proto.cv1.conv.out_channels
