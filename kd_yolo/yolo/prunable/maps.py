"""What the convs of a YOLO head put out, before anything is decoded: the outputs that pruning must not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.families import Head, family_names, head_of


def require_known_head(model: Any) -> None:
    """Raises InputError when ``model`` ends in a head that cannot be pruned."""
    layers = getattr(model, "model", None)
    head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    known = head_of(head)
    if known is None or not known.prunable:
        raise InputError(
            f"the model ends in {type(head).__name__}, which cannot be pruned. Give a detect, segment, pose, obb or"
            f" classify model of the families {family_names()}, or an RT-DETR."
        )


def _known(head: Any) -> Head:
    known = head_of(head)
    assert known is not None, "require_known_head lets no other through"
    return known


def head_maps(model: Any, image_nchw: Tensor) -> list[Tensor]:
    """Every output of a head's convs on an image, those that only training uses included.

    Args:
        model: a YOLO task model, stock or in split view, in eval mode.
        image_nchw: (N,C,H,W), whole strides.

    Returns:
        Maps (N,C_i,H_i,W_i); for a classifier its logits (N,K); for RT-DETR what its decoder is given.
    """
    x: Any = image_nchw
    outputs: list[Any] = []
    for layer in model.model[:-1]:
        x = layer(_input(layer, x, outputs))
        outputs.append(x if layer.i in model.save else None)
    head = model.model[-1]
    x = _input(head, x, outputs)
    form = _known(head).form
    if form == "classifier":
        return [head.linear(head.pool(head.conv(x)).flatten(1))]
    if form == "decoder":
        return [project(x_nchw) for project, x_nchw in zip(head.input_proj, x, strict=True)]
    return [*_prototypes(head, x), *_branches(head, x)]


def _input(layer: Any, x: Any, outputs: list[Any]) -> Any:
    """What a layer reads, as ultralytics' ``BaseModel._predict_once`` finds it."""
    if layer.f == -1:
        return x
    if isinstance(layer.f, int):
        return outputs[layer.f]
    return [x if j == -1 else outputs[j] for j in layer.f]


def _prototypes(head: Any, feats: list[Tensor]) -> Iterator[Tensor]:
    """Mask prototypes; with YOLO26 also the semantic map, whose branch runs in training only."""
    prototypes = _known(head).prototypes
    if prototypes == "none":
        return
    if prototypes == "first":
        yield head.proto(feats[0])
        return
    before, head.proto.training = head.proto.training, True  # of this module alone: BatchNorms stay in eval mode
    try:
        yield from head.proto(feats)
    finally:
        head.proto.training = before


def _branches(head: Any, feats: list[Tensor]) -> Iterator[Tensor]:
    for name, tails in _known(head).outputs():
        for i, branch in enumerate(_levels(head, name)):
            x_nchw = branch(feats[i])
            yield from (getattr(head, tail)[i](x_nchw) for tail in tails) if tails else (x_nchw,)


def _levels(head: Any, name: str) -> Iterator[nn.Module]:
    """The branches of a list; none where a head has no one-to-one side."""
    yield from getattr(head, name, None) or ()


def task_outputs(model: Any) -> dict[nn.Module, str]:
    """The head's convs whose width the task sets, each with the reason."""
    head = model.model[-1]
    known = _known(head)
    convs: list[Any] = [layer.conv for layer in head.modules() if type(layer) is DFL]
    if known.form == "decoder":
        return dict.fromkeys((project[0] for project in head.input_proj), "decoder input")
    if known.prototypes != "none":
        convs.append(head.proto.cv3.conv)
        convs += [head.proto.semseg[-1]] if known.prototypes == "all" else []
    if known.form == "levels":
        ends = [name for branches, tails in known.outputs() for name in tails or (branches,)]
        convs += [b if isinstance(b, nn.Conv2d) else cast(Any, b)[-1] for name in ends for b in _levels(head, name)]
    return dict.fromkeys(convs, "head output")
