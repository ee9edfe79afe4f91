"""Which classes of student and teacher are the same: what class responses need and feature losses do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.errors import ConfigError
from kd_yolo.yolo.heads import head_facts

HELP = "Use a feature loss (--loss cwd), a box loss (--loss box_iou), or fine-tune the teacher on this data first."


@dataclass(frozen=True)
class ClassMap:
    """Pairs of classes that are the same; empty when all are, in the same order.

    Attributes:
        student: class numbers of the student.
        teacher: those of the teacher, one for each.
    """

    student: tuple[int, ...] = ()
    teacher: tuple[int, ...] = ()

    def select(self, student_nka: Tensor, teacher_nka: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (N,K,A) of the shared classes on both sides."""
        if not self.student:
            return student_nka, teacher_nka
        device = student_nka.device
        own, other = (torch.tensor(numbers, device=device) for numbers in (self.student, self.teacher))
        return student_nka.index_select(1, own), teacher_nka.index_select(1, other)


def map_classes(loss: str, student: nn.Module, teacher: nn.Module) -> tuple[ClassMap, list[str]]:
    """Maps the teacher's classes to the student's by name, or by number where one side has no names.

    Args:
        loss: name of the response loss that compares them.
        student: with the data's classes and names.
        teacher: any YOLO model.

    Returns:
        The map, and lines on what is left out.

    Raises:
        ConfigError: no common class, other class counts without names, or a softmax over one class.
    """
    num_own, num_other = (head_facts(model).num_classes for model in (student, teacher))
    own, other = _class_names(student), _class_names(teacher)
    if own == other or not own or not other:
        if num_own != num_other:
            raise ConfigError(
                f"teacher has {num_other} classes, data has {num_own}: response losses ({loss}) need equal classes, or"
                f" names that tell which are the same. {HELP}"
            )
        found, notes = ClassMap(), list[str]()
    else:
        found, notes = _by_name(loss, own, other)
    if loss == "kl" and len(found.student or range(num_own)) == 1:
        raise ConfigError(
            "kl over 1 class is identically 0: softmax over one class is always 1. Use --loss bkd, which is defined "
            "for one class."
        )
    return found, notes


def _by_name(loss: str, own: list[str], other: list[str]) -> tuple[ClassMap, list[str]]:
    shared = [name for name in own if name in other]
    if not shared:
        raise ConfigError(
            f"teacher has the classes {_shown(other)}, data has {_shown(own)}: none in common, so response losses"
            f" ({loss}) have nothing to compare. {HELP} If they are the same under other names, give them the same."
        )
    found = ClassMap(tuple(own.index(name) for name in shared), tuple(other.index(name) for name in shared))
    alone = [name for name in own if name not in other]
    notes = [f"teacher's and data's classes are matched by name: {len(shared)} of {len(own)} are taught"]
    if alone:
        notes.append(f"not taught, the teacher does not know them: {_shown(alone)}")
    return found, notes


def _shown(names: list[str]) -> str:
    return str(names) if len(names) <= 10 else f"[{', '.join(map(repr, names[:10]))}, ... {len(names)} in all]"


def _class_names(model: nn.Module) -> list[str]:
    """Class names in order; empty when the model has none, or only numbers as a model from YAML does."""
    names: Any = getattr(model, "names", None) or {}
    names = names if isinstance(names, dict) else dict(enumerate(names))
    if all(str(key) == str(name) for key, name in names.items()):
        return []
    return [str(names[key]).strip().lower() for key in sorted(names)]
