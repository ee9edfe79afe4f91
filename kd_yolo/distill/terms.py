"""Terms: one configured loss with its taps, adapters and gate, from the outputs of both models to a scalar."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.config.distill import DistillConfig, TermConfig
from kd_yolo.distill.adapters import TrainingOnly, build_adapter, standardize
from kd_yolo.distill.classes import check_classes, compare_class_names
from kd_yolo.distill.taps import TapPair, find_taps, match_by_stride, unpaired
from kd_yolo.distill.teacher import TeacherOutputs
from kd_yolo.errors import ConfigError, InputError
from kd_yolo.losses import build_loss, losses
from kd_yolo.yolo.heads import HeadFacts, head_facts, input_channels, probe_image


@dataclass(frozen=True)
class StudentOutputs:
    """What the student said of one batch: tapped features by layer, and the head's raw outputs."""

    features: dict[int, Tensor]
    raw: dict[str, Any]


class Term(nn.Module):
    """One distillation term; a module, because its adapters and its loss may hold parameters.

    Attributes:
        pairs: the taps it compares (none for a response term).
        needs_head: whether it reads the teacher's head.
        notes: what a user should know about it: levels that only one side has, classes with other names.
    """

    pairs: Sequence[TapPair] = ()
    needs_head = True
    notes: Sequence[str] = ()

    @abstractmethod
    def forward(self, student: StudentOutputs, teacher: TeacherOutputs) -> Tensor:
        """The unweighted term: a scalar, summed over levels."""


class FeatureTerm(Term):
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
        self.needs_scores = "scores_n1hw" in losses.get(config.loss).context
        self.needs_head = self.needs_scores
        foreign = [str(pair.teacher) for pair in pairs if pair.teacher.stride not in teacher.strides]
        if self.needs_scores and foreign:
            raise ConfigError(
                f"{config.loss} weights features by the teacher's class scores, which its head gives at strides "
                f"{list(teacher.strides)}: not at {', '.join(foreign)}. Choose taps at those strides, or another loss."
            )

    def forward(self, student: StudentOutputs, teacher: TeacherOutputs) -> Tensor:
        total: Tensor | None = None
        for pair, adapter, loss in zip(self.pairs, self.adapters, self.losses, strict=True):
            own, other = adapter(student.features[pair.student.layer]), teacher.features[pair.teacher.layer]
            if self.standardize:
                with torch.autocast(own.device.type, enabled=False):
                    own, other = standardize(own), standardize(other)
            context = {"scores_n1hw": self._scores(teacher, pair)} if self.needs_scores else {}
            value = loss(own, other, **context)
            total = value if total is None else total + value
        assert total is not None, "a feature term has at least one pair"
        return total

    def _scores(self, teacher: TeacherOutputs, pair: TapPair) -> Tensor:
        """The teacher's highest class probability at every cell of the pair's level, (N,1,H,W)."""
        assert teacher.raw is not None, "needs_head was ignored"
        level = self.teacher_strides.index(pair.teacher.stride)
        height, width = teacher.raw["feats"][level].shape[-2:]
        logits_nka = split_levels(teacher.raw["scores"], teacher.raw["feats"])[level]
        scores_n1p = logits_nka.float().sigmoid().amax(1, keepdim=True)
        return scores_n1p.reshape(-1, 1, height, width)


class ResponseTerm(Term):
    """A loss between class logits (N,K,A) of the levels that both heads have, weighted by a gate on anchors.

    Args:
        config: the term.
        student: facts of the student's head.
        teacher: facts of the teacher's head.
    """

    def __init__(self, config: TermConfig, student: HeadFacts, teacher: HeadFacts) -> None:
        super().__init__()
        self.gate = config.gate
        self.loss = build_loss(config.loss, **config.params)
        self.strides = tuple(s for s in student.strides if s in teacher.strides)
        self.student_levels = [student.strides.index(s) for s in self.strides]
        self.teacher_levels = [teacher.strides.index(s) for s in self.strides]
        self.notes = [
            f"{role} level of stride {stride} has no partner and is not used"
            for role, facts in (("student", student), ("teacher", teacher))
            for stride in facts.strides
            if stride not in self.strides
        ]

    def forward(self, student: StudentOutputs, teacher: TeacherOutputs) -> Tensor:
        assert teacher.raw is not None, "needs_head was ignored"
        own = select_levels(student.raw["scores"], student.raw["feats"], self.student_levels)
        other = select_levels(teacher.raw["scores"], teacher.raw["feats"], self.teacher_levels)
        if self.gate == "all":
            return self.loss(own, other)  # type: ignore[no-any-return]
        gate_na = other.float().sigmoid().amax(1)
        return self.loss(own, other, gate_na=gate_na)  # type: ignore[no-any-return]


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


def build_terms(config: DistillConfig, student: nn.Module, teacher: nn.Module, *, seed: int) -> TrainingOnly:
    """Builds all terms of a run; the global random state is left as it was.

    Args:
        config: the run's configuration.
        student: the live student.
        teacher: the teacher.
        seed: seed of adapters and random losses.

    Returns:
        Terms by column name, on the student's device.

    Raises:
        ConfigError: taps that do not exist, no shared stride, or classes that differ with a response term.
        InputError: the two take images of different channel counts.
    """
    own, other = input_channels(student), input_channels(teacher)
    if own != other:
        raise InputError(
            f"the teacher takes {other}-channel images, the student {own}-channel ones: both see the same pictures. "
            f"Choose a teacher that was trained on {own} channels."
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        names = config.term_names()
        terms = {n: _build_term(t, student, teacher, seed) for n, t in zip(names, config.terms, strict=True)}
    return TrainingOnly(terms).to(next(student.parameters()).device)


def named_terms(terms: TrainingOnly) -> dict[str, Term]:
    """The terms by column name, with their type."""
    return {name: term for name, term in terms.items() if isinstance(term, Term)}


def _build_term(config: TermConfig, student: nn.Module, teacher: nn.Module, seed: int) -> Term:
    own, other = head_facts(student, "student"), head_facts(teacher, "teacher")
    if config.kind == "response":
        check_classes(config.loss, own, other)
        response = ResponseTerm(config, own, other)
        response.notes = [*response.notes, *compare_class_names(config.loss, student, teacher)]
        return response
    assert config.taps is not None, "feature terms have taps by default"
    image = probe_image(student, teacher)
    taps = [find_taps(m, config.taps, image, role) for m, role in ((student, "student"), (teacher, "teacher"))]
    pairs = match_by_stride(*taps)
    feature = FeatureTerm(config, pairs, other, seed)
    feature.notes = unpaired(pairs, *taps)
    return feature
