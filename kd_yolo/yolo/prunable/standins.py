"""What some blocks do while they are traced, where channels cannot be followed through what they do otherwise.

A stand-in consumes and produces the same channels as its block. ``ends`` collects outputs that lead nowhere: they are
in the graph only so that the conv that made them follows when its input is cut, or holds its input fixed (anchor).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from ultralytics.nn.modules.block import AAttn, ADown, Attention, CBFuse
from ultralytics.nn.modules.transformer import AIFI

from kd_yolo.yolo.prunable.splits import adown_source


def put_standins(model: Any, ends: list[Tensor]) -> dict[nn.Module, str]:
    """Replaces forward methods of ``model``, which must be a copy made for tracing.

    Args:
        model: in split view.
        ends: where stand-ins put outputs that lead nowhere.

    Returns:
        Convs whose width stays, or whose input does (anchors), each with the reason.
    """
    fixed: dict[nn.Module, str] = {}
    for block in list(model.modules()):
        if type(block) is Attention:  # reshapes its output to the shape of its input, so both widths stay
            block.anchor = _anchor(block.qkv.conv, block.qkv.conv.in_channels)
            fixed |= dict.fromkeys([block.anchor, block.qkv.conv, block.proj.conv, block.pe.conv], "attention")
            block.forward = partial(_attention, block, ends)
        elif type(block) is AAttn:  # the heads' widths stay; what comes in and goes out may shrink
            fixed |= dict.fromkeys([block.qkv.conv, block.pe.conv], "attention")
            block.forward = partial(_area_attention, block, ends)
        elif type(block) is AIFI:
            block.anchor = _anchor(block.fc1, block.fc1.in_features)
            fixed[block.anchor] = "transformer"
            block.forward = partial(_transformer, block, ends)
        elif type(block) is CBFuse:
            block.forward = partial(_fuse, block)
        elif type(block) is ADown:
            source = adown_source(model, block)
            if source is None:
                block.anchor = _anchor(block.cv1.conv, 2 * block.cv1.conv.in_channels)
                fixed[block.anchor] = "ADown halves it"
            halves = (lambda conv=source.cv4: conv.latest) if source is not None else None
            block.forward = partial(_down, block, ends, halves)
    return fixed


def _anchor(like: Any, channels: int) -> nn.Conv2d:
    """A conv that only reads ``channels``: whatever feeds it cannot lose any."""
    return nn.Conv2d(channels, 1, 1, device=like.weight.device, dtype=like.weight.dtype)


def _attention(block: Any, ends: list[Tensor], x_nchw: Tensor) -> Tensor:
    ends += [block.qkv(x_nchw), block.anchor(x_nchw)]
    return _project(block, x_nchw)


def _area_attention(block: Any, ends: list[Tensor], x_nchw: Tensor) -> Tensor:
    ends.append(block.qkv(x_nchw))
    return _project(block, x_nchw)


def _project(block: Any, x_nchw: Tensor) -> Tensor:
    """The output convs of an attention block on values that come from nowhere."""
    n, _, h, w = x_nchw.shape
    out: Tensor = block.proj(block.pe(x_nchw.new_zeros(n, block.pe.conv.in_channels, h, w)))
    return out


def _transformer(block: Any, ends: list[Tensor], x_nchw: Tensor) -> Tensor:
    ends.append(block.anchor(x_nchw))
    return x_nchw


def _fuse(block: Any, xs: list[Any]) -> Tensor:
    size = xs[-1].shape[2:]
    out: Tensor = xs[-1]
    for i, x in zip(block.idx, xs[:-1], strict=True):
        out = out + F.interpolate(x[i], size=size, mode="nearest")
    return out


def _down(block: Any, ends: list[Tensor], halves: Callable[[], tuple[Tensor, Tensor]] | None, x_nchw: Tensor) -> Tensor:
    if halves is None:
        ends.append(block.anchor(x_nchw))
        halves_nchw = x_nchw.detach().chunk(2, 1)
    else:
        halves_nchw = halves()
    first, second = (F.avg_pool2d(half, 2, 1, 0, False, True) for half in halves_nchw)
    return torch.cat((block.cv1(first), block.cv2(F.max_pool2d(second, 3, 2, 1))), 1)
