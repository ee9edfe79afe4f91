"""Classes that ``classes=`` and ``single_cls=`` leave to a training, and what that means for response losses.

Ultralytics drops the labels of the other classes. A teacher that went on teaching them would pull at the same logits as
the labels' "nothing is here": so response losses, and the gates that the teacher's class scores make, leave them out.
Feature losses compare no classes and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import first_few
from kd_yolo.distill.classes import HELP, ClassMap, map_classes
from kd_yolo.yolo.arguments.fit import classes_of
from kd_yolo.yolo.heads import head_facts

KL_OVER_ONE = (
    "kl over 1 class is identically 0: softmax over one class is always 1. Use --loss bkd, which is defined for one"
    " class."
)


@dataclass(frozen=True)
class KeptClasses:
    """Which classes of the data are trained.

    Attributes:
        numbers: those of ``classes=``, in order; empty for all.
        single: all are one, ``single_cls=True``.
    """

    numbers: tuple[int, ...] = ()
    single: bool = False

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> KeptClasses:
        """What a training with these arguments keeps."""
        return cls(tuple(sorted(classes_of(arguments))), bool(arguments.get("single_cls")))

    def note(self, count: int) -> str | None:
        """One line on what is left out of ``count`` classes; None when nothing is."""
        out = [number for number in range(count) if number not in self.numbers]
        if not self.numbers or self.single or not out:
            return None
        return f"classes={self.shown()}: response losses leave out class {first_few(out, 10)}"

    def shown(self) -> str:
        """The first of them as they are typed."""
        return first_few(self.numbers, 10, separator=",")


ALL_CLASSES = KeptClasses()


def map_kept_classes(
    loss: str, student: nn.Module, teacher: nn.Module, kept: KeptClasses
) -> tuple[ClassMap, list[str]]:
    """:func:`kd_yolo.distill.classes.map_classes`, without the classes that are not trained.

    Raises:
        ConfigError: see there; or no class is left, or several classes of the teacher are one in the data.
    """
    num_own, num_other = (head_facts(model).num_classes for model in (student, teacher))
    if kept.single and num_other > 1:
        raise ConfigError(
            f"single_cls=True makes one class of all, the teacher has {num_other}: response losses ({loss}) have"
            f" nothing to compare. {HELP}"
        )
    if kept.single:
        found, notes = ClassMap(), list[str]()
    else:
        found, notes = map_classes(loss, student, teacher)
        found = _restrict(loss, found, num_own, kept)
    if loss == "kl" and len(found.student or range(num_own)) == 1:
        raise ConfigError(KL_OVER_ONE)
    return found, notes


def _restrict(loss: str, found: ClassMap, num_own: int, kept: KeptClasses) -> ClassMap:
    if not kept.numbers:
        return found
    numbers = range(num_own)
    pairs = [
        (own, other)
        for own, other in zip(found.student or numbers, found.teacher or numbers, strict=True)
        if own in kept.numbers
    ]
    if not pairs:
        raise ConfigError(
            f"the teacher knows none of classes={kept.shown()}: response losses ({loss})"
            f" have nothing to compare. {HELP}"
        )
    return ClassMap(tuple(own for own, _ in pairs), tuple(other for _, other in pairs))


def taught_classes(loss: str, student: nn.Module, teacher: nn.Module, kept: KeptClasses) -> tuple[int, ...]:
    """The teacher's classes that gates, and losses on the teacher's own classes, look at; empty for all.

    All but those that are the same as a class of the data that is not trained. Classes that only the teacher has stay.

    Raises:
        ConfigError: none is left.
    """
    if not kept.numbers or kept.single:
        return ()
    try:
        found, _ = map_classes(loss, student, teacher)
    except ConfigError:  # no class in common: what the data leaves out says nothing of the teacher's
        return ()
    count = head_facts(teacher).num_classes
    own, other = (numbers or range(count) for numbers in (found.student, found.teacher))
    out = {theirs for ours, theirs in zip(own, other, strict=True) if ours not in kept.numbers}
    left = tuple(number for number in range(count) if number not in out)
    if not left:
        raise ConfigError(f"the teacher knows none of classes={kept.shown()}: {loss} has nothing to look at. {HELP}")
    return left if out else ()
