"""Builds the terms of a run from its configuration and the models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.config.term import TermConfig
from kd_yolo.distill.adapters import TrainingOnly
from kd_yolo.distill.cross import CrossTerm, branch_widths
from kd_yolo.distill.kept import ALL_CLASSES, KeptClasses, map_kept_classes, taught_classes
from kd_yolo.distill.queries import query_term
from kd_yolo.distill.response import ResponseTerm, reads_classes
from kd_yolo.distill.taps import find_taps, match_by_stride, unpaired
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.distill.terms import FeatureTerm, MeanTerm, SingleTerm, Term
from kd_yolo.losses import ResponseLoss, losses
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.heads import head_facts, input_channels, is_decoder, probe_image


def build_terms(
    config: DistillConfig,
    student: nn.Module,
    teachers: Sequence[Teacher],
    *,
    seed: int,
    kept: KeptClasses = ALL_CLASSES,
) -> TrainingOnly:
    """Builds all terms of a run and tells the teachers what to read; the global random state is left as it was.

    Args:
        config: the run's configuration.
        student: the live student.
        teachers: one for each of ``config.teachers``.
        seed: seed of adapters and random losses.
        kept: which classes of the data are trained.

    Returns:
        Terms by column name, on the student's device.

    Raises:
        ConfigError: taps that do not exist, no shared stride, heads that a response term cannot compare, or what an
            RT-DETR does not take.
        InputError: the two take images of different channel counts.
    """
    for teacher in teachers:
        check_channels(student, teacher.model)
    _check_cache(config, teachers)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        names = config.term_names()
        made = [_build(term, student, teachers, seed, kept) for term in config.terms]
    terms = dict(zip(names, made, strict=True))
    _note_kept(config, made, kept.note(head_facts(student).num_classes))
    for number, teacher in enumerate(teachers):
        watched = [m for term in terms.values() for m in term.members() if m.number == number]
        layers = [pair.teacher.layer for member in watched for pair in member.pairs]
        needs_head, branches = (any(getattr(m, key) for m in watched) for key in ("needs_head", "reads_branches"))
        teacher.watch(layers, needs_head=needs_head, branches=branches)
    return TrainingOnly(terms).to(next(student.parameters()).device)


def named_terms(terms: TrainingOnly) -> dict[str, Term]:
    """The terms by column name, with their type."""
    return {name: term for name, term in terms.items() if isinstance(term, Term)}


def _note_kept(config: DistillConfig, terms: Sequence[Term], note: str | None) -> None:
    """Says at the first response term what is left out."""
    first = next((t for t, made in zip(terms, config.terms, strict=True) if made.kind == "response"), None)
    if first is not None and note is not None:
        first.notes = [note, *first.notes]


def check_channels(student: nn.Module, teacher: nn.Module) -> None:
    """Checks that both take the same images.

    Raises:
        InputError: they have other numbers of channels.
    """
    own, other = input_channels(student), input_channels(teacher)
    if own != other:
        raise InputError(
            f"the teacher takes {other}-channel images, the student {own}-channel ones: both see the same images. "
            f"Choose a teacher that was trained on {own} channels."
        )


def _check_cache(config: DistillConfig, teachers: Sequence[Teacher]) -> None:
    """Refuses a teacher cache, which is made for anchors, where a network has queries."""
    if config.teacher_cache is not None and any(is_decoder(teacher.model) for teacher in teachers):
        raise ConfigError("teacher_cache keeps responses at anchors, an RT-DETR has queries: leave it out.")


def _build(config: TermConfig, student: nn.Module, teachers: Sequence[Teacher], seed: int, kept: KeptClasses) -> Term:
    """A term, or the mean of one for each teacher."""
    numbers = range(len(teachers)) if config.teacher is None else [config.teacher - 1]
    is_response = config.kind == "response"
    terms: list[SingleTerm] = [
        _response(config, student, teachers[number], kept)
        if is_response
        else _against(config, student, teachers[number], seed)
        for number in numbers
    ]
    for number, term in zip(numbers, terms, strict=True):
        term.number = number
    return terms[0] if len(terms) == 1 else MeanTerm(terms)


def _against(config: TermConfig, student: nn.Module, teacher: Teacher, seed: int) -> FeatureTerm:
    if isinstance(teacher.model, ExportedDetector):
        raise ConfigError(
            f"{config.loss} compares features, the teacher {teacher.model.pt_path} is an ONNX file and gives answers"
            " only: use --loss bkd, kl or box_iou."
        )
    other = head_facts(teacher.model, "teacher")
    assert config.taps is not None, "feature terms have taps by default"
    image = probe_image(student, teacher.model)
    taps = [find_taps(m, config.taps, image, role) for m, role in ((student, "student"), (teacher.model, "teacher"))]
    pairs = match_by_stride(*taps)
    feature = FeatureTerm(config, pairs, other, seed)
    feature.notes = unpaired(pairs, *taps)
    return feature


def _response(config: TermConfig, student: nn.Module, teacher: Teacher, kept: KeptClasses) -> SingleTerm:
    if is_decoder(student) or is_decoder(teacher.model):
        return query_term(config, student, teacher.model, kept)
    own, other = head_facts(student, "student"), head_facts(teacher.model, "teacher")
    cls = losses.get(config.loss)
    if reads_classes(config.loss):
        classes, notes = map_kept_classes(config.loss, student, teacher.model, kept)
        response = ResponseTerm(config, own, other, classes)
        response.notes = [*response.notes, *notes]
        return response
    taught = taught_classes(config.loss, student, teacher.model, kept)
    if issubclass(cls, ResponseLoss) and cls.reads == "raw":
        if isinstance(teacher.model, ExportedDetector):
            raise ConfigError(
                f"{config.loss} runs parts of the teacher's head, {teacher.model.pt_path} is an ONNX file: use --loss"
                " bkd, kl or box_iou."
            )
        widths = (branch_widths(student), branch_widths(teacher.model))
        return CrossTerm(config, own, other, widths, teacher, taught)
    return ResponseTerm(config, own, other, taught=taught)
