"""What a distillation would look at and cost, without training: for ``--dry-run``."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from torch import nn

from kd_yolo.base.reading import printable
from kd_yolo.config.distill import EMA_TEACHER, DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.kept import ALL_CLASSES, KeptClasses
from kd_yolo.distill.student import StudentReader
from kd_yolo.distill.teachers.runtime import in_runtime
from kd_yolo.distill.teachers.teacher import EMATeacher, Teacher
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.heads import head_facts


def describe_cost(
    config: DistillConfig,
    student: nn.Module,
    models: Mapping[str, nn.Module],
    *,
    kept: KeptClasses = ALL_CLASSES,
    is_compiled: bool = False,
) -> list[str]:
    """Lines on the models, every term's taps and adapters, and what is added to a training step.

    Args:
        config: the run's configuration.
        student: the student, with the data's classes.
        models: the teachers by name in the configuration, the moving average excepted.
        kept: which classes of the data are trained.
        is_compiled: the student is to be compiled.

    Raises:
        ConfigError: terms that these networks do not have, or that do not work in a compiled student.
    """
    lines = [_model_line(f"teacher {name}" if len(models) > 1 else "teacher", model) for name, model in models.items()]
    lines.append(_model_line("student", student))
    lines += [printable(config.chosen)] if config.chosen else []
    teachers = [
        EMATeacher(deepcopy(student), lambda: None) if name == EMA_TEACHER else Teacher(models[name])
        for name in config.teachers
    ]
    terms = build_terms(config, student, teachers, seed=0, kept=kept)
    if is_compiled:
        StudentReader(student, terms).check_compiled()
    for (name, term), settings in zip(named_terms(terms).items(), config.terms, strict=True):
        weight = f"{settings.weight:g}" if settings.share is None else f"for {settings.share:.0%} of the gradient"
        lines.append(f"{name}: weight {weight}, {_schedule_text(config, settings.schedule)}")
        for member in term.members():
            which = f"teacher {member.number + 1}: " if len(teachers) > 1 else ""
            lines += [f"  {which}{pair.student} <- {pair.teacher}" for pair in member.pairs]
            if not member.pairs:
                lines.append(f"  {which}{member.what}")
        lines += [f"  {note}" for note in term.notes]
        lines.append(f"  {_count(term):,} adapter parameters (trained with the student, absent from best.pt)")
    for teacher in teachers:
        in_runtime(teacher, config.teacher_runtime, next(student.parameters()).device)
    members = [member for term in named_terms(terms).values() for member in term.members()]
    until = "with its head" if any(m.needs_head for m in members) else "stopped after its last tapped layer"
    passes = "one teacher forward pass" if len(teachers) == 1 else f"{len(teachers)} teacher forward passes"
    lines.append(f"each step adds {passes} ({until}) and {_count(terms):,} trained parameters")
    return [*lines, *describe_teacher(config)]


def describe_teacher(config: DistillConfig) -> list[str]:
    """Lines on when the teacher runs, where that is not in every step."""
    lines = []
    if config.teacher_cache is not None:
        lines.append(
            f"{config.teacher_cache} fixed views of each image, and as many without mosaic: the teacher runs once for"
            f" each, what it says is kept in {config.teacher_cache_dir}"
        )
    n = config.teacher_every or 1
    if n > 1:
        lines.append(f"the teacher runs in one of {n} steps, where the terms count {n} times")
    return lines


def _model_line(role: str, model: nn.Module) -> str:
    facts = head_facts(model, role)
    if isinstance(model, ExportedDetector):
        return f"{role}: an ONNX file, {facts.num_classes} classes, answers at strides {list(facts.strides)}"
    ends = f"{facts.reg_max} box bins{', end-to-end' if facts.end2end else ''}"
    if facts.num_queries:
        ends = f"a decoder of {facts.num_queries} queries"
    strides = f"strides {list(facts.strides)}, " if facts.strides else ""
    return (
        f"{role}: {_count(model):,} parameters, {facts.num_classes} classes, {strides}head inputs"
        f" {list(facts.layers)}, {ends}"
    )


def _schedule_text(config: DistillConfig, own: object) -> str:
    schedule = config.schedule if own is None else own
    return " ".join(f"{k}={v}" for k, v in schedule.model_dump().items() if v is not None)  # type: ignore[attr-defined]


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
