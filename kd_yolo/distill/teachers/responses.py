"""A teacher's responses at the anchors that a gate by confidence can count: sparse float16 arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.heads import HeadFacts

SCORE_MIN = 1e-3
"""Anchors whose highest class score is below it are left out: yolov8s on coco128 has 3 % of its anchors above, with
99.3 % of the sum of all scores (640 px); a teacher that sees objects everywhere keeps all."""
OFF = -30.0  # a class logit that no gate counts: its score is 1e-13


@dataclass(frozen=True)
class Responses:
    """What a teacher says of one image.

    Attributes:
        anchors: which anchors (M,), int32.
        values: their raw boxes, then their class logits (M,4R+K), float16.
    """

    anchors: NDArray[np.int32]
    values: NDArray[np.float16]

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return self.anchors.nbytes + self.values.nbytes


def sparse_responses(raw: Mapping[str, Any]) -> list[Responses]:
    """The responses of each image of a head's raw ``{"boxes": (N,4R,A), "scores": (N,K,A)}``.

    Of each class at least the best anchor, if it is the best class anywhere: ``gate=balanced`` counts these classes.
    """
    score_na, class_na = raw["scores"].float().sigmoid().max(1)
    best_nk = score_na.new_zeros(raw["scores"].shape[:2]).scatter_reduce(1, class_na, score_na, "amax")
    is_kept_na = (score_na >= SCORE_MIN) | (score_na == best_nk.gather(1, class_na))
    image_m, anchor_m = is_kept_na.nonzero(as_tuple=True)
    values_mc = torch.cat([raw[key][image_m, :, anchor_m] for key in ("boxes", "scores")], 1)
    ends = is_kept_na.sum(1).cumsum(0)[:-1].tolist()
    anchors = np.split(anchor_m.int().cpu().numpy(), ends)
    values = np.split(values_mc.half().cpu().numpy(), ends)
    return [Responses(a, v) for a, v in zip(anchors, values, strict=True)]


def kept_confidence(raw: Mapping[str, Any]) -> float:
    """The share of the sum of all anchors' highest scores that :func:`sparse_responses` keeps."""
    score_na = raw["scores"].float().sigmoid().amax(1)
    return float((score_na * (score_na >= SCORE_MIN)).sum() / score_na.sum())


def raw_responses(responses: Sequence[Responses], facts: HeadFacts, image_nchw: Tensor) -> dict[str, Any]:
    """The raw outputs of a head again, float32, on the images' device.

    Where nothing was kept all class logits are :data:`OFF` and the boxes 0. ``feats`` have the shape of the levels, and
    no memory.

    Args:
        responses: one for each image.
        facts: of the teacher's head.
        image_nchw: the images, for shape and device.

    Raises:
        InputError: responses of another head or image size.
    """
    num_images, _, height, width = image_nchw.shape
    device = image_nchw.device
    sizes = [(height // stride, width // stride) for stride in facts.strides]
    num_anchors, num_box = sum(h * w for h, w in sizes), 4 * facts.reg_max
    anchors, values = np.concatenate([r.anchors for r in responses]), np.concatenate([r.values for r in responses])
    is_inside = not len(anchors) or (anchors.min() >= 0 and anchors.max() < num_anchors)
    if values.shape[1] != num_box + facts.num_classes or not is_inside:
        raise InputError("the teacher cache holds responses of another head: it is damaged, remove its folder.")
    image_m = torch.from_numpy(np.repeat(np.arange(num_images), [len(r.anchors) for r in responses])).to(device)
    anchor_m, values_mc = torch.from_numpy(anchors).long().to(device), torch.from_numpy(values).to(device).float()
    boxes_nba = torch.zeros(num_images, num_box, num_anchors, device=device)
    scores_nka = torch.full((num_images, facts.num_classes, num_anchors), OFF, device=device)
    boxes_nba[image_m, :, anchor_m] = values_mc[:, :num_box]
    scores_nka[image_m, :, anchor_m] = values_mc[:, num_box:]
    feats = [torch.empty(1, device=device).expand(num_images, 1, h, w) for h, w in sizes]
    return {"boxes": boxes_nba, "scores": scores_nka, "feats": feats}
