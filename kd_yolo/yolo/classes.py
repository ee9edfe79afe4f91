"""Another number of classes for a network that cannot be rebuilt: only the layers that predict classes change."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from kd_yolo.yolo.families import ONE_TO_ONE, head_like


def class_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a YOLO model whose width is the number of classes, by name; empty for tasks without classes."""
    layers: Any = model.model
    head, form = layers[-1], _form(layers[-1])
    found: dict[str, nn.Module] = {}
    if form == "levels":
        for name, level in _branches(head).items():
            found[f"{name}.{len(level) - 1}"] = level[-1]
        semantic = getattr(getattr(head, "proto", None), "semseg", None)
        if semantic is not None:
            found[f"proto.semseg.{len(semantic) - 1}"] = semantic[-1]
    elif form == "classifier":
        found["linear"] = head.linear
    elif form == "decoder":
        found = {name: getattr(head, name) for name in ("enc_score_head", "denoising_class_embed")}
        found |= {f"dec_score_head.{i}": layer for i, layer in enumerate(head.dec_score_head)}
    return {f"model.{len(layers) - 1}.{name}": layer for name, layer in found.items()}


def _form(head: Any) -> str:
    known = head_like(head)
    return "" if known is None else known.form


def _branches(head: Any) -> dict[str, Any]:
    """The branch of class logits of each level by name, of a one-to-one side too."""
    known = head_like(head)
    assert known is not None, "a head with levels"
    lists = (known.classes, ONE_TO_ONE + known.classes)
    return {f"{name}.{i}": level for name in lists for i, level in enumerate(getattr(head, name, None) or ())}


def num_classes(model: nn.Module) -> int:
    """How many classes a model predicts."""
    first: Any = next(iter(class_layers(model).values()))
    return int(getattr(first, "out_channels", None) or first.out_features)


def set_classes(model: nn.Module, classes: int) -> None:
    """Gives a model another number of classes, in place.

    The layers that predict classes start again, with the biases that upstream starts with; all other weights stay.
    ``nc`` and ``yaml`` follow, and the names are numbers.

    Args:
        model: a YOLO task model.
        classes: the new number.
    """
    facts: Any = model
    head = facts.model[-1]
    for name, layer in class_layers(model).items():
        owner, _, attribute = name.rpartition(".")
        fresh = _with_outputs(layer, classes)
        setattr(model.get_submodule(owner), attribute, fresh)
    head.nc = facts.nc = facts.yaml["nc"] = classes
    facts.names = {i: str(i) for i in range(classes)}
    if _form(head) == "levels":
        head.no = classes + 4 * head.reg_max
    _start_biases(head, classes)


def _with_outputs(layer: Any, count: int) -> nn.Module:
    """A fresh layer of the same kind with another number of outputs (of rows, for an embedding)."""
    weight = layer.weight
    fresh: nn.Module
    if isinstance(layer, nn.Conv2d):
        fresh = nn.Conv2d(layer.in_channels, count, 1)
    elif isinstance(layer, nn.Linear):
        fresh = nn.Linear(layer.in_features, count)
    else:
        fresh = nn.Embedding(count, layer.embedding_dim)
    return fresh.to(weight.device, weight.dtype).train(layer.training)


@torch.no_grad()
def _start_biases(head: Any, classes: int) -> None:
    """As ``bias_init`` of Detect (0.01 objects a class in 5 of (640 / stride)^2 cells) and of RTDETRDecoder."""
    if _form(head) == "levels":
        for name, level in _branches(head).items():
            stride = float(head.stride[int(name.rpartition(".")[2])])
            level[-1].bias.fill_(math.log(5 / classes / (640 / stride) ** 2))
    elif _form(head) == "decoder":
        for layer in (head.enc_score_head, *head.dec_score_head):
            layer.bias.fill_(-math.log((1 - 0.01) / 0.01) / 80 * classes)
