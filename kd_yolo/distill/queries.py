"""The response term between two decoders: a loss between queries that Hungarian matching pairs."""

from __future__ import annotations

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
from kd_yolo.yolo.queries import Queries, query_matcher

MAX_TAUGHT = 100
"""Queries of the teacher that teach: those it is most confident of. Its others are background; matching all 300 takes
ten times as long."""


class QueryTerm(SingleTerm):
    """A loss between decoders of RT-DETR, on pairs of queries that Hungarian matching finds.

    Queries have no place of their own: which one of the student answers for an object is settled by matching, with the
    costs with which RT-DETR matches queries to labels (2 for the class, 5 for L1 and 2 for GIoU of the boxes), the
    teacher's best class and box standing for a label. The student's answer is matched once; its other decoder layers
    and the proposals of its encoder, whose queries are the same, are compared over the same pairs, so the term is the
    mean over layers. Queries for
    denoising, and queries without a pair, are left to the labels.

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
        own, taught = self._pair(student.queries, *self._select(teacher.queries))
        weight_nm = anchor_weights(self.gate, taught[1])
        context: dict[str, Any] = {}
        num_layers = len(student.queries.boxes_lnq4)
        if weight_nm is not None:
            context[self.weight_key] = weight_nm.repeat(num_layers, 1)
        if self.reads == "boxes":
            return self.loss(_corners(own[0]), _corners(taught[0]).repeat(num_layers, 1, 1), **context)  # type: ignore[no-any-return]
        return self.loss(own[1], taught[1].repeat(num_layers, 1, 1), **context)  # type: ignore[no-any-return]

    def _select(self, queries: Queries) -> tuple[Tensor, Tensor]:
        """Boxes (N,M,4) and shared class logits (N,M,K) of the queries that the teacher is most confident of."""
        boxes_nq4, scores_nqk = queries.answer()
        if self.classes and self.classes.teacher:
            scores_nqk = scores_nqk[..., list(self.classes.teacher)]
        confidence_nq = scores_nqk.amax(-1)
        top_nm = confidence_nq.topk(min(MAX_TAUGHT, confidence_nq.shape[1])).indices
        return _gather(boxes_nq4, top_nm), _gather(scores_nqk, top_nm)

    def _pair(
        self, student: Queries, boxes_nm4: Tensor, scores_nmk: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Boxes (.,4,M) and class logits (.,K,M) of the pairs: the student's of all layers (L*N), the teacher's (N)."""
        scores_lnqk = student.scores_lnqk
        if self.classes and self.classes.student:
            scores_lnqk = scores_lnqk[..., list(self.classes.student)]
        own_nm, other_nm = self._match(student.boxes_lnq4[-1], scores_lnqk[-1], boxes_nm4, scores_nmk)
        num_layers = len(scores_lnqk)
        own_lnm = own_nm.repeat(num_layers, 1)
        own = tuple(_gather(x.flatten(0, 1), own_lnm).mT for x in (student.boxes_lnq4, scores_lnqk))
        other = tuple(_gather(x, other_nm).mT for x in (boxes_nm4, scores_nmk))
        return own, other  # type: ignore[return-value]

    def _match(
        self, boxes_nq4: Tensor, scores_nqk: Tensor, taught_nm4: Tensor, taught_nmk: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Indices (N,M') of the student's queries and of the teacher's, M' the smaller of their numbers."""
        num_images, num_taught, _ = taught_nm4.shape
        classes_nm = taught_nmk.argmax(-1) if self.classes else torch.zeros_like(taught_nm4[..., 0], dtype=torch.long)
        pairs = self.matcher(
            boxes_nq4, scores_nqk, taught_nm4.float().flatten(0, 1), classes_nm.flatten(), [num_taught] * num_images
        )
        own_nm, other_nm = (torch.stack([pair[side] for pair in pairs]).to(boxes_nq4.device) for side in (0, 1))
        return own_nm, other_nm % num_taught  # the matcher numbers them through the batch


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


def _gather(x_nqc: Tensor, index_nm: Tensor) -> Tensor:
    """The rows (N,M,C) that indices pick of (N,Q,C)."""
    return x_nqc.gather(1, index_nm[..., None].expand(-1, -1, x_nqc.shape[-1]))


def _corners(boxes_n4m: Tensor) -> Tensor:
    """x0, y0, x1, y1 (N,4,M) of cx, cy, w, h."""
    centre_n2m, size_n2m = boxes_n4m.chunk(2, 1)
    return torch.cat([centre_n2m - size_n2m / 2, centre_n2m + size_n2m / 2], 1)
