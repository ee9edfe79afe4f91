"""Terms: one configured loss with its taps, adapters and gate, from the outputs of both models to a scalar."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.term import TermConfig
from kd_yolo.distill.adapters import build_adapter, standardize
from kd_yolo.distill.outputs import Labels, Outputs
from kd_yolo.distill.taps import TapPair
from kd_yolo.losses import build_loss, losses
from kd_yolo.yolo.heads import HeadFacts


class Term(nn.Module):
    """One distillation term; a module, because its adapters and its loss may hold parameters.

    Attributes:
        notes: what a user should know about it: levels that only one side has, classes with other names.
    """

    notes: Sequence[str] = ()

    @abstractmethod
    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Labels | None = None) -> Tensor:
        """The unweighted term: a scalar, summed over levels."""

    @abstractmethod
    def members(self) -> Iterator[SingleTerm]:
        """Its parts that look at one teacher each."""


class SingleTerm(Term):
    """A term against one teacher.

    Attributes:
        pairs: the taps it compares (none for a response term).
        number: which teacher it looks at, from 0.
        needs_head: whether it reads the teacher's head.
        reads_branches: whether it reads inside the heads of both.
        needs_labels: whether it looks at the labels or at their assignment to anchors.
        what: what it compares, for messages, where it has no taps.
    """

    pairs: Sequence[TapPair] = ()
    number = 0
    needs_head = True
    reads_branches = False
    needs_labels = False
    what = "features"

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Labels | None = None) -> Tensor:
        return self.compare(student, teachers[self.number], labels)

    @abstractmethod
    def compare(self, student: Outputs, teacher: Outputs, labels: Labels | None = None) -> Tensor:
        """The term on the outputs of its teacher."""

    def members(self) -> Iterator[SingleTerm]:
        yield self


class MeanTerm(Term):
    """The mean of a term over several teachers, each with adapters of its own.

    Args:
        terms: one per teacher.
    """

    def __init__(self, terms: Sequence[SingleTerm]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.notes = [f"teacher {term.number + 1}: {note}" for term in terms for note in term.notes]

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Labels | None = None) -> Tensor:
        return torch.stack([term(student, teachers, labels) for term in self.terms]).mean()

    def members(self) -> Iterator[SingleTerm]:
        for term in self.terms:
            assert isinstance(term, SingleTerm), "built from terms"
            yield term


class FeatureTerm(SingleTerm):
    """A feature loss over pairs of taps: adapt, standardise if asked, compare, sum over levels.

    Args:
        config: the term.
        pairs: student and teacher taps of equal stride.
        teacher: facts of the teacher's head.
        seed: seed of the losses that draw random numbers; each level gets its own.

    Raises:
        ConfigError: the loss needs the teacher's class scores at a level that its head does not have.
    """

    def __init__(self, config: TermConfig, pairs: Sequence[TapPair], teacher: HeadFacts, seed: int) -> None:
        super().__init__()
        self.pairs = tuple(pairs)
        self.standardize = bool(config.standardize)
        self.teacher_strides = teacher.strides
        self.adapters = nn.ModuleList(build_adapter(config.adapter or "auto", pair) for pair in pairs)
        self.losses = nn.ModuleList(_build_level_loss(config, pair, seed + i) for i, pair in enumerate(pairs))
        self.wants = losses.get(config.loss).context
        self.needs_head = "scores_n1hw" in self.wants
        self.needs_labels = "boxes_xyxy" in self.wants
        if self.needs_head and teacher.num_queries:
            raise ConfigError(
                f"{config.loss} weights features by the teacher's class score at every position, which an RT-DETR does"
                " not give: choose another loss, such as --loss cwd."
            )
        foreign = [str(pair.teacher) for pair in pairs if pair.teacher.stride not in teacher.strides]
        if self.needs_head and foreign:
            raise ConfigError(
                f"{config.loss} weights features by the teacher's class scores, which its head gives at strides "
                f"{list(teacher.strides)}: not at {', '.join(foreign)}. Choose taps at those strides, or another loss."
            )

    def compare(self, student: Outputs, teacher: Outputs, labels: Labels | None = None) -> Tensor:
        total: Tensor | None = None
        for pair, adapter, loss in zip(self.pairs, self.adapters, self.losses, strict=True):
            own, other = adapter(student.features[pair.student.layer]), teacher.features[pair.teacher.layer]
            if self.standardize:
                with torch.autocast(own.device.type, enabled=False):
                    own, other = standardize(own), standardize(other)
            value = loss(own, other, **self._context(teacher, pair, labels))
            total = value if total is None else total + value
        assert total is not None, "a feature term has at least one pair"
        return total

    def _context(self, teacher: Outputs, pair: TapPair, labels: Labels | None) -> dict[str, Any]:
        context: dict[str, Any] = {}
        if self.needs_head:
            context["scores_n1hw"] = self._scores(teacher, pair)
        if self.needs_labels:
            assert labels is not None, "needs_labels was ignored"
            context |= {"boxes_xyxy": labels.boxes_xyxy, "image_hw": labels.image_hw}
        return context

    def _scores(self, teacher: Outputs, pair: TapPair) -> Tensor:
        """The teacher's highest class probability at every cell of the pair's level, (N,1,H,W)."""
        assert teacher.raw is not None, "needs_head was ignored"
        level = self.teacher_strides.index(pair.teacher.stride)
        height, width = teacher.raw["feats"][level].shape[-2:]
        logits_nka = split_levels(teacher.raw["scores"], teacher.raw["feats"])[level]
        scores_n1p = logits_nka.float().sigmoid().amax(1, keepdim=True)
        return scores_n1p.reshape(-1, 1, height, width)


def split_levels(x_nca: Tensor, feats: Sequence[Tensor]) -> list[Tensor]:
    """Splits anchors (N,C,A) into levels, in the order of ``feats`` [(N,C,H,W), ...]."""
    return list(torch.split(x_nca, [f.shape[-2] * f.shape[-1] for f in feats], dim=-1))


def select_levels(x_nca: Tensor, feats: Sequence[Tensor], levels: Sequence[int]) -> Tensor:
    """The anchors (N,C,A') of some levels; all levels cost nothing."""
    if list(levels) == list(range(len(feats))):
        return x_nca
    parts = split_levels(x_nca, feats)
    return torch.cat([parts[i] for i in levels], dim=-1)


def _build_level_loss(config: TermConfig, pair: TapPair, seed: int) -> nn.Module:
    known = losses.parameters(config.loss)
    own: dict[str, Any] = {"channels": pair.teacher.channels, "seed": seed}
    return build_loss(config.loss, **{**{k: v for k, v in own.items() if k in known}, **config.params})
