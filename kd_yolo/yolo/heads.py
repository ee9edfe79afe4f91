"""What the rest of the project needs to know about a YOLO model: its head, levels, strides and raw outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.families import RTDETR, Head, family_names, head_like, is_end2end

BRANCHES = ("cv2", "cv3")  # of a head: boxes, classes; as Detect calls them, and the checkpoints of unfinished runs


@dataclass(frozen=True)
class HeadFacts:
    """A detection head in numbers.

    Attributes:
        layers: index of the layer that feeds each level.
        strides: input pixels per cell of each level.
        num_classes: classes it predicts.
        reg_max: bins of the box distribution (1: no distribution).
        end2end: whether it has a one-to-one branch beside the one-to-many branch.
        rotated: whether its boxes have an angle.
    """

    layers: tuple[int, ...]
    strides: tuple[int, ...]
    num_classes: int
    reg_max: int
    end2end: bool
    rotated: bool = False


def detect_head(model: nn.Module, role: str = "model") -> Any:
    """The head with boxes and classes at several levels (Detect, Segment, Pose, OBB, v10Detect) that ends ``model``.

    Args:
        model: a YOLO task model.
        role: what the model is to the user (``"teacher"``), for the error message.

    Raises:
        InputError: the model ends in something else, for example RT-DETR's decoder or a classifier.
    """
    layers = getattr(model, "model", None)
    head = layers[-1] if isinstance(layers, nn.Sequential) and len(layers) else None
    known = head_like(head)
    if known is not None and known.task == RTDETR:
        check_distillable(RTDETR, role)
    if known is None or known.form != "levels":
        raise InputError(
            f"the {role} ends in {type(head).__name__}, not in a YOLO Detect head: distillation works for detect, "
            f"segment, pose and obb models of the families {family_names()}."
        )
    return head


def _known(head: nn.Module) -> Head:
    known = head_like(head)
    assert known is not None, "detect_head lets no other through"
    return known


def check_distillable(task: str, role: str) -> None:
    """Refuses a network of a kind that has no distillation.

    Args:
        task: as :func:`kd_yolo.yolo.description.model_yaml.check_model_yaml` gives it.
        role: what the network is to the user.

    Raises:
        InputError: RT-DETR.
    """
    if task == RTDETR:
        raise InputError(
            f"the {role} is an RT-DETR, which cannot be distilled: distillation works for YOLO detect, segment, pose"
            " and obb models. kd-yolo retrain trains an RT-DETR without a teacher."
        )


def head_facts(model: nn.Module, role: str = "model") -> HeadFacts:
    """The facts of ``model``'s head.

    Raises:
        InputError: see :func:`detect_head`.
    """
    head = detect_head(model, role)
    return HeadFacts(
        layers=tuple(int(i) for i in head.f),
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
    head = detect_head(model)
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
    conv = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    return conv.in_channels


def probe_image(*models: nn.Module) -> Tensor:
    """A black image (1,C,S,S) just large enough for every level of every model, on the first model's device."""
    size_px = 2 * max(stride for model in models for stride in head_facts(model).strides)
    parameter = next(models[0].parameters())
    return torch.zeros(1, input_channels(models[0]), size_px, size_px, device=parameter.device, dtype=parameter.dtype)
