"""A copy of a model that a dependency graph can be traced through: it shares the tensors, splitting convs are apart."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import RepVGGDW
from ultralytics.nn.modules.conv import Conv, ConvTranspose, RepConv
from ultralytics.nn.modules.transformer import AIFI

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.families import is_form
from kd_yolo.yolo.prunable.maps import head_maps, require_known_head, task_outputs
from kd_yolo.yolo.prunable.splits import Split, split_convs
from kd_yolo.yolo.prunable.standins import put_standins
from kd_yolo.yolo.prunable.tracing import ChannelWatch

CONVS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Place:
    """Where a layer of the view is in the stock model.

    Attributes:
        name: of the stock layer, with ``[a]``, ``[b]``... behind it where the layer is one part of a splitting conv.
        stock: of the stock layer (or of a bare parameter).
        offset: the stock layer's channel that is channel 0 here.
    """

    name: str
    stock: str
    offset: int


class TraceView:
    """A traceable copy of a stock model, which is not touched.

    Args:
        model: a YOLO task model, not fused.

    Attributes:
        model: the copy. Its parameters share memory with the model's and carry their gradients; all require gradients.
        fixed: layers whose width stays, or that keep the width of what feeds them, each with the reason.
        ties: names of convs that must keep equal widths.
        places: where each layer, and each parameter, is in the stock model.
        convs: convs in the order in which they run, once :meth:`forward` was called.

    Raises:
        InputError: fused, or with a head or block that cannot be pruned.
    """

    def __init__(self, model: nn.Module) -> None:
        require_known_head(model)
        _require_unfused(model)
        self.model: Any = _sharing_copy(model).eval()
        splits = list(split_convs(self.model))
        self.fixed = task_outputs(self.model)
        self._ends: list[Tensor] = []
        standins = put_standins(self.model, self._ends)
        self.fixed |= standins
        self.places = _places(self.model, splits)
        self.ties = [tuple(self.places[_conv(part)].name for part in s.parts.parts) for s in splits if s.tied]
        self.convs: list[Any] = []

    def conv_names(self) -> list[str]:
        """Names of all convs, parts apart."""
        return [self.places[m].name for m in self.model.modules() if isinstance(m, CONVS) and m in self.places]

    def forward(self, _model: nn.Module, image_nchw: Tensor) -> list[Tensor]:
        """Outputs to trace back from, for torch-pruning's ``forward_fn``.

        Raises:
            InputError: a block does something through which channels cannot be followed, or a layer did not run.
        """
        self._ends.clear()
        trusted = [module for module in self.model.modules() if "forward" in vars(module)]
        watch = ChannelWatch(self.model, trusted)
        with torch.enable_grad(), watch:
            outputs = [*head_maps(self.model, image_nchw), *self._ends]
        self.convs = [module for module in watch.ran if isinstance(module, CONVS) and module in self.places]
        self._require_all_ran(watch)
        return outputs

    def _require_all_ran(self, watch: ChannelWatch) -> None:
        """A branch that runs in training only would be left with the old widths."""
        modules = list(self.model.modules())
        unseen = [module for module in modules if isinstance(module, AIFI) or is_form(module, "decoder")]
        known = {layer for module in unseen for layer in module.modules()}
        for layer in self.model.modules():
            if isinstance(layer, (*CONVS, nn.BatchNorm2d)) and layer not in {*watch.ran, *known, *self.fixed}:
                raise InputError(
                    f"{self.places[layer].name} does not run when the model predicts, so that pruning cannot tell what"
                    " it is connected to: this model cannot be pruned."
                )


def _require_unfused(model: nn.Module) -> None:
    for name, module in model.named_modules():
        fused = isinstance(module, Conv | ConvTranspose) and not hasattr(module, "bn")
        fused |= isinstance(module, RepConv | RepVGGDW) and not hasattr(module, "conv1")
        if fused or "forward" in vars(module):
            raise InputError(
                f"the model was fused for inference ({name}), which merges the BatchNorms that pruning needs. Give the"
                " file from before fusing (best.pt of the training run)."
            )


def _sharing_copy(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers are the model's own memory."""
    shared: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        twin = nn.Parameter(parameter.detach(), requires_grad=True)
        twin.grad = parameter.grad
        shared[id(parameter)] = twin
    return copy.deepcopy(model, shared)


def _places(view: nn.Module, splits: list[Split]) -> dict[Any, Place]:
    """The place of every layer and parameter of the view; anchors, which the stock model has not, are left out."""
    offsets = {split.conv: split.parts.offsets for split in splits}
    places: dict[Any, Place] = {}
    for name, thing in [*view.named_modules(), *view.named_parameters()]:
        found = re.fullmatch(r"(.+)\.parts\.(\d+)(.*)", name)
        if found and found[1] in offsets:
            stock, part = found[1] + found[3], int(found[2])
            places[thing] = Place(f"{stock}[{chr(ord('a') + part)}]", stock, offsets[found[1]][part])
        elif not name.endswith(".anchor"):
            places[thing] = Place(name, name, 0)
    return places


def _conv(part: Any) -> nn.Module:
    conv: nn.Module = part.conv if isinstance(part, Conv) else part
    return conv
