"""What the convs of a YOLO head put out, before anything is decoded: the outputs that pruning must not change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL, Proto26
from ultralytics.nn.modules.head import (
    OBB,
    OBB26,
    Classify,
    Detect,
    Pose,
    Pose26,
    RTDETRDecoder,
    Segment,
    Segment26,
    v10Detect,
)

from kd_yolo.base.errors import InputError

_DETECT = frozenset({Detect, OBB, OBB26, Pose, Pose26, Segment, Segment26, v10Detect})
_BRANCHES = ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4")


def require_known_head(model: Any) -> None:
    """Raises InputError when ``model`` ends in a head that cannot be pruned."""
    layers = getattr(model, "model", None)
    head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    if type(head) not in _DETECT | {Classify, RTDETRDecoder}:
        raise InputError(
            f"the model ends in {type(head).__name__}, which cannot be pruned. Give a detect, segment, pose, obb or"
            " classify model of the families v3, v5u, v6, v8, v9, v10, 11, 12 or 26, or an RT-DETR."
        )


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
    if isinstance(head, Classify):
        return [head.linear(head.pool(head.conv(x)).flatten(1))]
    if isinstance(head, RTDETRDecoder):
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
    if not isinstance(head, Segment):
        return
    if not isinstance(head.proto, Proto26):
        yield head.proto(feats[0])
        return
    before, head.proto.training = head.proto.training, True  # of this module alone: BatchNorms stay in eval mode
    try:
        yield from head.proto(feats)
    finally:
        head.proto.training = before


def _branches(head: Any, feats: list[Tensor]) -> Iterator[Tensor]:
    for name in _BRANCHES:
        branches = getattr(head, name, None)
        for i, branch in enumerate(branches if branches is not None else ()):
            x_nchw = branch(feats[i])
            if isinstance(head, Pose26) and name.endswith("cv4"):
                yield getattr(head, f"{name}_kpts")[i](x_nchw)
                yield getattr(head, f"{name}_sigma")[i](x_nchw)
            else:
                yield x_nchw


def task_outputs(model: Any) -> dict[nn.Module, str]:
    """The head's convs whose width the task sets, each with the reason."""
    head = model.model[-1]
    convs: list[Any] = [layer.conv for layer in head.modules() if type(layer) is DFL]
    if isinstance(head, RTDETRDecoder):
        return dict.fromkeys((project[0] for project in head.input_proj), "decoder input")
    if isinstance(head, Segment):
        convs.append(head.proto.cv3.conv)
        convs += [head.proto.semseg[-1]] if isinstance(head.proto, Proto26) else []
    for name in _BRANCHES:
        suffixes = ("_kpts", "_sigma") if isinstance(head, Pose26) and name.endswith("cv4") else ("",)
        for branches in (getattr(head, name + suffix, None) for suffix in suffixes):
            convs += [b if isinstance(b, nn.Conv2d) else b[-1] for b in (branches if branches is not None else ())]
    return dict.fromkeys(convs, "head output")
