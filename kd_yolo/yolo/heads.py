"""What the rest of the project needs to know about a YOLO model: its head, levels, strides and raw outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.families import Head, family_names, head_like, is_end2end, is_form

DECODER = "decoder"  # the form of RT-DETR's head
DECODER_PX = 160  # side of an image with enough cells: RT-DETR asks for the best 300
BRANCHES = ("cv2", "cv3")  # of a head: boxes, classes; as Detect calls them, and the checkpoints of unfinished runs


@dataclass(frozen=True)
class HeadFacts:
    """A detection head in numbers.

    Attributes:
        layers: index of the layer that feeds each level.
        strides: input pixels per cell of each level at which it predicts; empty for a decoder, which has queries.
        num_classes: classes it predicts.
        reg_max: bins of the box distribution (1: no distribution).
        end2end: whether it has a one-to-one branch beside the one-to-many branch.
        rotated: whether its boxes have an angle.
        num_queries: of a decoder (RT-DETR's); 0 for a head that predicts at every cell of its levels.
    """

    layers: tuple[int, ...]
    strides: tuple[int, ...]
    num_classes: int
    reg_max: int = 1
    end2end: bool = False
    rotated: bool = False
    num_queries: int = 0


def is_decoder(model: nn.Module) -> bool:
    """Whether a model ends in RT-DETR's decoder."""
    return is_form(_last_layer(model), DECODER)


def detector_head(model: nn.Module, role: str = "model") -> Any:
    """The head that ends a detector that can be distilled: one with levels, see :func:`detect_head`, or a decoder.

    Raises:
        InputError: the model ends in something else, for example a classifier.
    """
    return _last_layer(model) if is_decoder(model) else detect_head(model, role)


def detect_head(model: nn.Module, role: str = "model") -> Any:
    """The head with boxes and classes at several levels (Detect, Segment, Pose, OBB, v10Detect) that ends ``model``.

    Args:
        model: a YOLO task model.
        role: what the model is to the user (``"teacher"``), for the error message.

    Raises:
        InputError: the model ends in something else, for example RT-DETR's decoder or a classifier.
    """
    head = _last_layer(model)
    if not is_form(head, "levels"):
        raise InputError(
            f"the {role} ends in {type(head).__name__}, not in a YOLO Detect head: detect, segment, pose and obb models"
            f" of the families {family_names()} have one."
        )
    return head


def _last_layer(model: nn.Module) -> nn.Module | None:
    layers = getattr(model, "model", None)
    return layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None


def _known(head: nn.Module) -> Head:
    known = head_like(head)
    assert known is not None, "detect_head lets no other through"
    return known


def head_facts(model: nn.Module, role: str = "model") -> HeadFacts:
    """The facts of ``model``'s head.

    Raises:
        InputError: see :func:`detector_head`.
    """
    known = getattr(model, "facts", None)  # of an exported detector
    if isinstance(known, HeadFacts):
        return known
    head = detector_head(model, role)
    layers = tuple(int(i) for i in head.f)
    if is_decoder(model):
        return HeadFacts(layers, (), int(head.nc), num_queries=int(head.num_queries))
    return HeadFacts(
        layers=layers,
        strides=tuple(int(s) for s in head.stride.tolist()),
        num_classes=int(head.nc),
        reg_max=int(head.reg_max),
        end2end=is_end2end(head),
        rotated=_known(head).rotated,
    )


def raw_outputs(preds: Any) -> dict[str, Any]:
    """The one-to-many ``{"boxes": (N,4R,A), "scores": (N,K,A), "feats": [(N,C,H,W), ...]}`` of any head output.

    Args:
        preds: what the model returned, in training form (a dict) or in eval form (``(decoded, dict)``).
    """
    if isinstance(preds, tuple):
        preds = preds[1]
    outputs: dict[str, Any] = preds.get("one2many", preds)
    return outputs


def fuse_keeping_branches(model: nn.Module) -> nn.Module:
    """Fuses Conv + BatchNorm in place but keeps both branches of an end-to-end head.

    ``Detect.fuse`` drops one branch, and which one depends on the version; distillation needs the one-to-many branch.
    """
    head = detector_head(model)
    head.fuse = lambda: None
    try:
        return model.fuse(verbose=False)  # type: ignore[operator, no-any-return]
    finally:
        del head.fuse


def head_branches(model: nn.Module) -> dict[tuple[str, int], nn.Module]:
    """The block before the output layer of each one-to-many branch, by branch (of :data:`BRANCHES`) and level."""
    return {(name, i): branch[-2] for name in BRANCHES for i, branch in enumerate(_branches(model, name))}


def finish_branch(model: nn.Module, key: tuple[str, int], x_nchw: Tensor) -> Tensor:
    """Runs the output layer of a branch of :func:`head_branches` on a map; returns raw outputs (N,C,H*W)."""
    name, level = key
    output: Any = _branches(model, name)[level][-1]
    return output(x_nchw).flatten(2)  # type: ignore[no-any-return]


def _branches(model: nn.Module, name: str) -> Any:
    """The branch of each level for one of :data:`BRANCHES`."""
    head = detect_head(model)
    known = _known(head)
    return getattr(head, known.boxes if name == BRANCHES[0] else known.classes)


def input_channels(model: nn.Module) -> int:
    """Channels of the image that the model takes (3 for RGB)."""
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return int(model.channels if conv is None else conv.in_channels)  # type: ignore[arg-type]  # an exported detector


def probe_image(*models: nn.Module) -> Tensor:
    """A black image (1,C,S,S) just large enough for every level of every model, on the first model's device."""
    facts = [head_facts(model) for model in models]
    size_px = max(2 * max(own.strides) if own.strides else DECODER_PX for own in facts)
    parameter = next(models[0].parameters())
    return torch.zeros(1, input_channels(models[0]), size_px, size_px, device=parameter.device, dtype=parameter.dtype)
