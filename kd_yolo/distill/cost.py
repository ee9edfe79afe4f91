"""What a distillation would look at and cost, without training: for ``--dry-run``."""

from __future__ import annotations

from torch import nn

from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.terms import Term, build_terms
from kd_yolo.yolo.heads import head_facts


def describe_cost(config: DistillConfig, student: nn.Module, teacher: nn.Module) -> list[str]:
    """Lines on both models, every term's taps and adapters, and what is added to a training step.

    Args:
        config: the run's configuration.
        student: the student, with the data's classes.
        teacher: the teacher.
    """
    lines = [_model_line("teacher", teacher), _model_line("student", student)]
    terms = build_terms(config, student, teacher, seed=0)
    needs_head = False
    for (name, term), settings in zip(terms.items(), config.terms, strict=True):
        assert isinstance(term, Term), "build_terms returns terms"
        needs_head |= term.needs_head
        lines.append(f"{name}: weight {settings.weight:g}, {_schedule_text(config, settings.schedule)}")
        lines += [f"  {pair.student} <- {pair.teacher}" for pair in term.pairs]
        if not term.pairs:
            lines.append(f"  class logits, gate {settings.gate}")
        lines.append(f"  {_count(term):,} adapter parameters (trained with the student, absent from best.pt)")
    until = "with its head" if needs_head else "stopped after its last tapped layer"
    lines.append(f"each step adds one teacher forward pass ({until}) and {_count(terms):,} trained parameters")
    return lines


def _model_line(role: str, model: nn.Module) -> str:
    facts = head_facts(model, role)
    end = ", end-to-end" if facts.end2end else ""
    return (
        f"{role}: {_count(model):,} parameters, {facts.num_classes} classes, strides {list(facts.strides)}, "
        f"head inputs {list(facts.layers)}, {facts.reg_max} box bins{end}"
    )


def _schedule_text(config: DistillConfig, own: object) -> str:
    schedule = config.schedule if own is None else own
    return " ".join(f"{k}={v}" for k, v in schedule.model_dump().items() if v is not None)  # type: ignore[attr-defined]


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
