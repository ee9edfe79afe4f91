"""The response term: a loss between what two heads say of the same anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.term import TermConfig
from kd_yolo.distill.boxes import corners, expected_distances
from kd_yolo.distill.classes import ClassMap
from kd_yolo.distill.outputs import Labels, Outputs
from kd_yolo.distill.terms import SingleTerm, select_levels
from kd_yolo.losses import ResponseLoss, build_loss, losses
from kd_yolo.losses.gate import balanced_confidence
from kd_yolo.yolo.heads import HeadFacts

WHAT = {
    "scores": "class logits",
    "bins": "box distributions",
    "boxes": "boxes",
    "predictions": "boxes and class logits",
    "raw": "what the teacher's head makes of the student's features",
}


def reads_classes(loss: str) -> bool:
    """Whether a response loss compares class logits, so that classes have to be matched."""
    cls = losses.get(loss)
    return issubclass(cls, ResponseLoss) and cls.reads in ("scores", "predictions")


class ResponseTerm(SingleTerm):
    """A loss between head outputs of the levels that both heads have, weighted by a gate on anchors.

    Args:
        config: the term.
        student: facts of the student's head.
        teacher: facts of the teacher's head.
        classes: which classes are the same.
        taught: the teacher's classes that the gate of a loss on boxes looks at, or that the teacher's own head teaches;
            empty for all.

    Raises:
        ConfigError: no shared level; box distributions that one side does not have or that differ; oriented boxes.
    """

    def __init__(
        self,
        config: TermConfig,
        student: HeadFacts,
        teacher: HeadFacts,
        classes: ClassMap | None = None,
        taught: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.taught = tuple(taught)
        self.gate = config.gate
        self.needs_labels = config.gate == "assigned"
        self.classes = classes or ClassMap()
        self.strides = shared_strides(student, teacher)
        self.student_levels = [student.strides.index(s) for s in self.strides]
        self.teacher_levels = [teacher.strides.index(s) for s in self.strides]
        cls = losses.get(config.loss)
        assert issubclass(cls, ResponseLoss), "a response loss"
        self.reads = cls.reads
        self.what = f"{WHAT[cls.reads]}, gate {config.gate}"
        self.weight_key = "weight_na" if "weight_na" in cls.context else "gate_na"
        self.must_weigh = self.weight_key in cls.required
        if self.reads == "bins":
            check_bins(config.loss, student, teacher)
        if self.reads in ("boxes", "predictions") and (student.rotated or teacher.rotated):
            raise ConfigError(
                f"{config.loss} compares boxes without an angle, these heads give oriented ones: use --loss dfl_kl for"
                " the sides and --loss bkd for the classes."
            )
        params = {"bins": teacher.reg_max} if "bins" in losses.parameters(config.loss) else {}
        self.loss = build_loss(config.loss, **{**params, **config.params})
        self.notes = [
            f"{role} level of stride {stride} has no partner and is not used"
            for role, facts in (("student", student), ("teacher", teacher))
            for stride in facts.strides
            if stride not in self.strides
        ]

    def compare(self, student: Outputs, teacher: Outputs, labels: Labels | None = None) -> Tensor:
        own, other = self._read(student, self.student_levels), self._read(teacher, self.teacher_levels)
        scores = self.classes.select(own["scores"], other["scores"])
        weight_na = self._weights(self._taught(scores[1]), student, labels)
        context: dict[str, Any] = {} if weight_na is None else {self.weight_key: weight_na}
        if self.reads == "scores":
            return self.loss(*scores, **context)  # type: ignore[no-any-return]
        if self.reads == "predictions":
            distances = (expected_distances(side["boxes"]) for side in (own, other))
            sides = (torch.cat([d, z.to(d.dtype)], 1) for d, z in zip(distances, scores, strict=True))
            return self.loss(*sides, **context)  # type: ignore[no-any-return]
        sides = (self._boxes(side) for side in (own, other))
        return self.loss(*sides, **context)  # type: ignore[no-any-return]

    def _taught(self, teacher_nka: Tensor) -> Tensor:
        """The teacher's logits (N,K,A) without the classes that are not trained."""
        if not self.taught:
            return teacher_nka
        return teacher_nka.index_select(1, torch.tensor(self.taught, device=teacher_nka.device))

    def _read(self, outputs: Outputs, levels: Sequence[int]) -> dict[str, Any]:
        """The raw outputs of the shared levels only."""
        raw = outputs.raw
        assert raw is not None, "needs_head was ignored"
        cut = {key: select_levels(raw[key], raw["feats"], levels) for key in ("boxes", "scores") if key in raw}
        return {**cut, "feats": [raw["feats"][i] for i in levels]}

    def _boxes(self, side: dict[str, Any]) -> Tensor:
        """What a box loss compares: distributions, or corners in pixels."""
        if self.reads == "bins":
            return side["boxes"]  # type: ignore[no-any-return]
        return corners(expected_distances(side["boxes"]), side["feats"], self.strides)

    def _weights(self, teacher_nka: Tensor, student: Outputs, labels: Labels | None) -> Tensor | None:
        """The weight of each anchor (N,A); None is 1 everywhere."""
        if self.gate == "assigned":
            assert labels is not None, "needs_labels was ignored"
            assert labels.assigned_na is not None, "the assigner was not watched"
            assert student.raw is not None, "the student has a head"
            assigned_n1a = labels.assigned_na[:, None]
            return select_levels(assigned_n1a, student.raw["feats"], self.student_levels)[:, 0].float()
        weight_na = anchor_weights(self.gate, teacher_nka)
        return (
            torch.ones_like(teacher_nka[:, 0], dtype=torch.float32)
            if weight_na is None and self.must_weigh
            else weight_na
        )


def anchor_weights(gate: str | None, teacher_nka: Tensor) -> Tensor | None:
    """The weight of each anchor (N,A) by the teacher's class logits (N,K,A); None is 1 everywhere."""
    if gate == "all":
        return None
    return balanced_confidence(teacher_nka) if gate == "balanced" else teacher_nka.float().sigmoid().amax(1)


def shared_strides(student: HeadFacts, teacher: HeadFacts) -> tuple[int, ...]:
    """The strides of the levels that both heads have.

    Raises:
        ConfigError: none.
    """
    shared = tuple(s for s in student.strides if s in teacher.strides)
    if not shared:
        raise ConfigError(f"student strides {student.strides} and teacher strides {teacher.strides} share no level.")
    return shared


def check_bins(loss: str, student: HeadFacts, teacher: HeadFacts) -> None:
    """Checks that both heads predict the sides of a box as distributions over the same bins.

    Raises:
        ConfigError: one has none (YOLO26), or the numbers of bins differ.
    """
    if min(student.reg_max, teacher.reg_max) == 1 or student.reg_max != teacher.reg_max:
        raise ConfigError(
            f"{loss} compares box distributions: the student has {student.reg_max} bins, the teacher {teacher.reg_max},"
            " both need the same number above 1. Use --loss box_iou, which compares the boxes themselves."
        )
