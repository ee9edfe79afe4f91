"""What RT-DETR's decoder says of a batch: boxes and class logits of its queries, after every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from ultralytics.models.utils.ops import HungarianMatcher

COSTS = {"class": 2, "bbox": 5, "giou": 2}  # of matching queries to labels in RT-DETR


@dataclass(frozen=True)
class Queries:
    """The queries of a decoder, those for denoising left out.

    Attributes:
        boxes_lnq4: boxes after each of L layers (L,N,Q,4): centre and size as shares of the image.
        scores_lnqk: their class logits (L,N,Q,K).
    """

    boxes_lnq4: Tensor
    scores_lnqk: Tensor

    def images(self, part: slice) -> Queries:
        """Those of some images of the batch."""
        return Queries(self.boxes_lnq4[:, part], self.scores_lnqk[:, part])

    def answer(self) -> tuple[Tensor, Tensor]:
        """Boxes (N,Q,4) and class logits (N,Q,K) after the last layer."""
        return self.boxes_lnq4[-1], self.scores_lnqk[-1]


def query_matcher(*, by_class: bool) -> HungarianMatcher:
    """RT-DETR's own matching of queries to labels; without classes by their boxes alone."""
    return HungarianMatcher(cost_gain=COSTS if by_class else {**COSTS, "class": 0})


def answered_queries(preds: Any) -> Queries:
    """The queries of a network in eval mode, which answers ``(detections, (boxes, scores, ...))`` with L = 1."""
    boxes_lnq4, scores_lnqk = preds[1][:2]
    return Queries(boxes_lnq4, scores_lnqk)


def trained_queries(preds: tuple[Tensor, Tensor]) -> Queries:
    """The queries of a network in training, as ultralytics hands them to its loss: the encoder's proposals first.

    Args:
        preds: boxes (1+L,N,Q,4) and class logits (1+L,N,Q,K), already without denoising queries.
    """
    boxes, scores = preds
    return Queries(boxes[1:], scores[1:])
