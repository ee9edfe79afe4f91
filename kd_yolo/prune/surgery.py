"""Cutting channels out of layers, and the proof that nothing but those channels went."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from kd_yolo.base.errors import KDYoloError
from kd_yolo.yolo.prunable import head_maps

# float64 sums in another order differ by 1e-13; a channel that is mixed up, by 1e-3 and more
TOLERANCE = 1e-9


@dataclass
class Removal:
    """Channels that a layer loses, by their numbers in the layer as it is.

    Attributes:
        outputs: of its outputs.
        inputs: of its inputs; empty for layers that have only one side (BatchNorm, depth-wise conv, parameter).
    """

    outputs: set[int] = field(default_factory=set)
    inputs: set[int] = field(default_factory=set)


Removals = Mapping[str, Removal]


def remove_channels(model: nn.Module, removals: Removals) -> None:
    """Cuts channels out of the layers of ``model``; gradients are cut likewise and ``requires_grad`` stays.

    Args:
        model: any model.
        removals: by name of the layer or parameter; all must fit together.
    """
    layers = dict(model.named_modules())
    for name, removal in removals.items():
        if name in layers:
            _cut_layer(layers[name], sorted(removal.outputs), sorted(removal.inputs))
        else:
            owner, _, attribute = name.rpartition(".")
            _cut_parameter(layers[owner], attribute, removal.outputs)


def _cut_layer(layer: Any, outputs: list[int], inputs: list[int]) -> None:
    frozen = [name for name, parameter in layer.named_parameters(recurse=False) if not parameter.requires_grad]
    if isinstance(layer, nn.BatchNorm2d):
        tp.prune_batchnorm_out_channels(layer, outputs)
    elif isinstance(layer, nn.Conv2d) and layer.groups == layer.out_channels == layer.in_channels > 1:
        tp.prune_depthwise_conv_out_channels(layer, outputs)
    elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        tp.prune_conv_out_channels(layer, outputs)
        tp.prune_conv_in_channels(layer, inputs)
    elif isinstance(layer, nn.Linear):
        tp.prune_linear_out_channels(layer, outputs)
        tp.prune_linear_in_channels(layer, inputs)
    else:
        raise AssertionError(f"no channels to cut in {type(layer).__name__}")
    for name in frozen:  # torch-pruning's new parameters all require gradients
        getattr(layer, name).requires_grad_(False)


def _cut_parameter(owner: nn.Module, attribute: str, outputs: set[int]) -> None:
    old: nn.Parameter = getattr(owner, attribute)
    left = torch.tensor([i for i in range(old.numel()) if i not in outputs], device=old.device)
    new = nn.Parameter(old.detach()[left], requires_grad=old.requires_grad)
    new.grad = None if old.grad is None else old.grad[left]
    setattr(owner, attribute, new)


def silence_channels(model: nn.Module, removals: Removals) -> None:
    """Sets the output channels to zero that :func:`remove_channels` would cut out.

    Behind BatchNorm and activation they are zero too, for every activation that keeps zero (SiLU, ReLU and all others
    in ultralytics' own YAML files).
    """
    layers = dict(model.named_modules())
    for name, removal in removals.items():
        layer: Any = layers.get(name)
        if layer is None or not removal.outputs:
            continue
        silent = sorted(removal.outputs)
        with torch.no_grad():
            (layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight)[silent] = 0
            if layer.bias is not None:
                layer.bias[silent] = 0


def prove(model: nn.Module, removals: Removals, cut: Callable[[nn.Module], None], image_nchw: Tensor) -> None:
    """Checks that cutting channels out is the same as setting them to zero.

    It is checked on copies in float64 with random weights: those of a model hardly trained, or of channels that hardly
    matter, would hide a channel that was mixed up.

    Args:
        model: not touched.
        removals: what is to be cut.
        cut: cuts it, in place.
        image_nchw: its shape counts; noise takes its place.

    Raises:
        KDYoloError: it is not the same: the connections between the layers were not understood.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(image_nchw.shape, generator=generator, dtype=torch.float64)
    silent = copy.deepcopy(model).cpu().double().eval()
    _randomise(silent, generator)
    less = copy.deepcopy(silent)
    silence_channels(silent, removals)
    cut(less)
    try:
        with torch.no_grad():
            pairs = list(zip(head_maps(silent, noise), head_maps(less, noise), strict=True))
    except RuntimeError as error:
        raise _misunderstood(f"the cut network does not run ({error})") from error
    for i, (expected, got) in enumerate(pairs):
        atol = TOLERANCE * float(expected.abs().max())
        if expected.shape != got.shape or not torch.allclose(got, expected, rtol=0, atol=atol):
            raise _misunderstood(f"output {i} of its head would not be the same")


def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Weights that keep signals at their size from layer to layer, and BatchNorms that all differ."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim > 1 and tensor.is_floating_point():
                bound = (6 / tensor[0].numel()) ** 0.5  # He et al. 2015: variance 2 / fan-in
                tensor.uniform_(-bound, bound, generator=generator)
            elif tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=generator)


def _misunderstood(reason: str) -> KDYoloError:
    return KDYoloError(
        f"pruning would damage this model and was not done: {reason}. A block does something with its channels that"
        " pruning does not know. Keep the layers around it with --ignore, or report the model."
    )
