"""The response term between two decoders: a loss between queries that Hungarian matching pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.term import TermConfig
from kd_yolo.distill.classes import ClassMap
from kd_yolo.distill.kept import KeptClasses, map_kept_classes
from kd_yolo.distill.outputs import Labels, Outputs
from kd_yolo.distill.response import WHAT, anchor_weights
from kd_yolo.distill.terms import SingleTerm
from kd_yolo.losses import ResponseLoss, build_loss, losses
from kd_yolo.yolo.heads import is_decoder
from kd_yolo.yolo.queries import query_matcher

LEAST_CONFIDENT = 0.25
"""Queries of the teacher teach from this class score on. Matching all 300, most of them background, takes ten times as
long, and gives an object to another query of the student than the labels do."""


class QueryTerm(SingleTerm):
    """A loss between decoders of RT-DETR, on pairs of queries that Hungarian matching finds.

    Queries have no place of their own: which one of the student answers for an object is settled by matching, with the
    costs with which RT-DETR matches queries to labels (2 for the class, 5 for L1 and 2 for GIoU of the boxes), the
    best class and box of a query of the teacher standing for a label, where it is confident. The student's answer is
    matched once; its other decoder layers, whose queries are the same, are compared over the same pairs, so the term is
    the mean over layers. Queries for denoising, and queries without a pair, are left to the labels; so are the
    proposals of the encoder.

    Args:
        config: the term.
        classes: which classes are the same; None when none is, or none is compared: boxes alone are matched then.

    Raises:
        ConfigError: a loss or a gate of anchors, which queries are not.

    References:
        Chang et al., "DETRDistill: A Universal Knowledge Distillation Framework for DETR-families", ICCV 2023, arXiv
        2211.10156, section 3.2 (Hungarian-matching logits distillation; there each layer learns from the teacher's
        layer of the same number, and every query of the teacher is matched); Zhao et al., "DETRs Beat YOLOs on
        Real-time Object Detection", CVPR 2024, arXiv 2304.08069 (the costs).
    """

    what = "queries"

    def __init__(self, config: TermConfig, classes: ClassMap | None) -> None:
        super().__init__()
        cls = losses.get(config.loss)
        assert issubclass(cls, ResponseLoss), "a response loss"
        if cls.reads not in ("scores", "boxes"):
            raise ConfigError(
                f"{config.loss} compares {WHAT[cls.reads]} at anchors, an RT-DETR has queries: use --loss bkd or kl for"
                " their classes, box_iou for their boxes."
            )
        if config.gate == "assigned":
            raise ConfigError(
                "gate=assigned counts anchors, an RT-DETR has queries: use gate=confidence, balanced or all."
            )
        self.gate = config.gate
        self.reads = cls.reads
        self.classes = classes
        self.weight_key = "weight_na" if "weight_na" in cls.context else "gate_na"
        self.loss = build_loss(config.loss, **config.params)
        self.matcher = query_matcher(by_class=classes is not None)
        self.what = f"{WHAT[cls.reads]} of matched queries, gate {config.gate}"

    def compare(self, student: Outputs, teacher: Outputs, labels: Labels | None = None) -> Tensor:
        del labels
        assert student.queries is not None, "a decoder"
        assert teacher.queries is not None, "needs_head was ignored"
        own, other = student.queries, teacher.queries
        scores_lnqk, taught_nqk = self._shared(own.scores_lnqk, other.answer()[1])
        pairs = self._pairs((own.boxes_lnq4[-1], scores_lnqk[-1]), (other.answer()[0], taught_nqk))
        if not pairs.images.numel():  # the teacher sees nothing
            return 0 * own.scores_lnqk.sum()
        logits_1km = taught_nqk[pairs.images, pairs.teacher].T[None]
        weight_1m = anchor_weights(self.gate, logits_1km)
        context: dict[str, Any] = {}
        num_layers = len(scores_lnqk)
        if weight_1m is not None:
            context[self.weight_key] = weight_1m.repeat(num_layers, 1)
        if self.reads == "boxes":
            boxes_l4m = own.boxes_lnq4[:, pairs.images, pairs.student].mT
            taught_14m = other.answer()[0][pairs.images, pairs.teacher].T[None]
            return self.loss(_corners(boxes_l4m), _corners(taught_14m).repeat(num_layers, 1, 1), **context)  # type: ignore[no-any-return]
        logits_lkm = scores_lnqk[:, pairs.images, pairs.student].mT
        return self.loss(logits_lkm, logits_1km.repeat(num_layers, 1, 1), **context)  # type: ignore[no-any-return]

    def _shared(self, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (...,K) of the shared classes, or as they are."""
        if self.classes is None or not self.classes.student:
            return own, other
        return own[..., list(self.classes.student)], other[..., list(self.classes.teacher)]

    def _pairs(self, student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Pairs:
        """Pairs the teacher's confident queries with the student's.

        Args:
            student: boxes (N,Q,4) and class logits (N,Q,K) of its answer.
            teacher: the same of the teacher.
        """
        boxes_nq4, logits_nqk = (x.float() for x in teacher)
        confidence_nq, class_nq = logits_nqk.sigmoid().max(-1)
        image_m, query_m = (confidence_nq >= LEAST_CONFIDENT).nonzero(as_tuple=True)
        counts = torch.bincount(image_m, minlength=len(boxes_nq4)).tolist()
        classes_m = class_nq[image_m, query_m] if self.classes else torch.zeros_like(image_m)
        matched = self.matcher(*student, boxes_nq4[image_m, query_m], classes_m, counts)
        own, other = (torch.cat([pair[side] for pair in matched]).to(image_m.device) for side in (0, 1))
        return Pairs(image_m[other], own, query_m[other])


@dataclass(frozen=True)
class Pairs:
    """M pairs of queries, of all images: which image, and which query of it on either side; each (M)."""

    images: Tensor
    student: Tensor
    teacher: Tensor


def query_term(config: TermConfig, student: nn.Module, teacher: nn.Module, kept: KeptClasses) -> QueryTerm:
    """The term between two networks of which at least one is an RT-DETR.

    Raises:
        ConfigError: the other one is none; no common class for a loss that compares classes; see :class:`QueryTerm`.
    """
    if not (is_decoder(student) and is_decoder(teacher)):
        roles = ("student", "teacher") if is_decoder(student) else ("teacher", "student")
        raise ConfigError(
            f"the {roles[0]} is an RT-DETR, which answers with queries, the {roles[1]} a YOLO, which answers at"
            f" anchors: {config.loss} has nothing to compare. Use a feature loss (--loss cwd), or two of a kind."
        )
    try:
        classes, notes = map_kept_classes(config.loss, student, teacher, kept)
    except ConfigError:
        if losses.get(config.loss).reads != "boxes":  # type: ignore[attr-defined]
            raise
        classes, notes = None, ["no class in common: queries are matched by their boxes alone"]
    term = QueryTerm(config, classes)
    term.notes = notes
    return term


def _corners(boxes_n4m: Tensor) -> Tensor:
    """x0, y0, x1, y1 (N,4,M) of cx, cy, w, h."""
    centre_n2m, size_n2m = boxes_n4m.chunk(2, 1)
    return torch.cat([centre_n2m - size_n2m / 2, centre_n2m + size_n2m / 2], 1)
