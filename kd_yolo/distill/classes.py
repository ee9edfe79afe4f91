"""Whether two heads predict the same classes, which response losses need and feature losses do not."""

from __future__ import annotations

from typing import Any

from torch import nn

from kd_yolo.errors import ConfigError
from kd_yolo.yolo.heads import HeadFacts


def check_classes(loss: str, student: HeadFacts, teacher: HeadFacts) -> None:
    """Checks that a response term is defined for the two heads.

    Raises:
        ConfigError: class counts differ, no shared level, or a softmax over one class.
    """
    if student.num_classes != teacher.num_classes:
        raise ConfigError(
            f"teacher has {teacher.num_classes} classes, data has {student.num_classes}: response losses ({loss}) need "
            "equal classes. Use a feature loss (--loss cwd) or fine-tune the teacher on this data first."
        )
    if not set(student.strides) & set(teacher.strides):
        raise ConfigError(f"student strides {student.strides} and teacher strides {teacher.strides} share no level.")
    if loss == "kl" and student.num_classes == 1:
        raise ConfigError(
            "kl over 1 class is identically 0: softmax over one class is always 1. Use --loss bkd, which is defined "
            "for one class."
        )


def compare_class_names(loss: str, student: nn.Module, teacher: nn.Module) -> list[str]:
    """Compares class names, for response losses take class i of the one for class i of the other.

    Returns:
        A line when the two call their classes differently; it may be a translation, so it is no error.

    Raises:
        ConfigError: the same names in another order.
    """
    own, other = _class_names(student), _class_names(teacher)
    if own == other or not own or not other:
        return []
    if sorted(own) == sorted(other):
        raise ConfigError(
            f"teacher has the classes {other}, data has {own}: response losses ({loss}) need the same order. "
            "Use a feature loss (--loss cwd) or fine-tune the teacher on this data first."
        )
    changed = [f"{b} -> {a}" for a, b in zip(own, other, strict=False) if a != b]
    return [f"teacher's and data's classes have different names, taken as equal by number: {', '.join(changed[:5])}"]


def _class_names(model: nn.Module) -> list[str]:
    """Class names in order; empty when the model has none, or only numbers as a model from YAML does."""
    names: Any = getattr(model, "names", None) or {}
    names = names if isinstance(names, dict) else dict(enumerate(names))
    if all(str(key) == str(name) for key, name in names.items()):
        return []
    return [str(names[key]).strip().lower() for key in sorted(names)]
