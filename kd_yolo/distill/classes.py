"""Which classes of student and teacher are the same: what class responses need and feature losses do not.

Classes are matched by name whenever both sides have names. A data set always has: names that are digits are names. A
model has none when it was built from a YAML and never trained: ultralytics then calls its classes "0", "1", ...
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import first_few, shown
from kd_yolo.data.spec import DataSpec
from kd_yolo.yolo.classes import num_classes, set_classes
from kd_yolo.yolo.files.pruned_file import is_pruned
from kd_yolo.yolo.heads import head_facts, input_channels

HELP = "Use a feature loss (--loss cwd), a box loss (--loss box_iou), or fine-tune the teacher on this data first."
ALL_MATCHED = "matched by name: all"  # begins the one note that says nothing to worry about
ONE_CLASS = {0: "item"}  # what ultralytics calls the class that single_cls=True makes of all


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


def student_for(model: nn.Module, spec: DataSpec, *, single: bool = False) -> nn.Module:
    """A student as it will be trained on a data set: with its classes, their names and its image channels.

    What a dry run must look at: the model as it is loaded knows nothing of the data.

    Args:
        model: the student; another one is made when its numbers are others, else its names are set in place.
        spec: the data set.
        single: all its classes are one (``single_cls=True``).

    Raises:
        ConfigError: a pruned student for images of other channels.
        InputError: the student was fused for inference.
    """
    facts: Any = model
    names = dict(ONE_CLASS) if single else dict(spec.names)
    if not is_pruned(model):
        if num_classes(model) != len(names) or input_channels(model) != spec.channels:
            shape = {"data_kpt_shape": spec.extras["kpt_shape"]} if _needs_key_points(model, spec) else {}
            description = deepcopy(facts.yaml)
            facts = type(model)(description, ch=spec.channels, nc=len(names), verbose=False, **shape)
    elif facts.is_fused():
        raise InputError("the student is fused for inference and cannot be trained: open its file again.")
    elif input_channels(model) != spec.channels:
        raise ConfigError(
            f"the student takes images of {input_channels(model)} channels, the data has {spec.channels}."
        )
    elif num_classes(model) != len(names):
        facts = deepcopy(facts)
        set_classes(facts, len(names))
    facts.names = names
    arguments = getattr(facts, "args", None) or {}
    arguments = arguments if isinstance(arguments, dict) else vars(arguments)
    facts.args = {**arguments, "data": str(spec.yaml_path)}  # as a training sets it: the names are real
    return facts  # type: ignore[no-any-return]


def _needs_key_points(model: nn.Module, spec: DataSpec) -> bool:
    return type(model).__name__ == "PoseModel" and "kpt_shape" in spec.extras


def class_names(model: nn.Module) -> list[str] | None:
    """A model's class names in order; None when it has none, as one that was built from a YAML and not trained."""
    facts: Any = model
    names: Any = getattr(facts, "names", None) or {}
    names = names if isinstance(names, dict) else dict(enumerate(names))
    if not names:
        return None
    is_numbered = all(str(key) == str(name) for key, name in names.items())
    return None if is_numbered and not _was_trained(facts) else [str(names[key]) for key in sorted(names)]


def _was_trained(model: Any) -> bool:
    """Whether the names come from data: a training notes its arguments at the model."""
    arguments = getattr(model, "args", None) or {}
    arguments = arguments if isinstance(arguments, dict) else vars(arguments)
    return bool(arguments.get("data"))


def map_classes(loss: str, student: nn.Module, teacher: nn.Module) -> tuple[ClassMap, list[str]]:
    """Maps the teacher's classes to the student's by name, or by number where one side has no names.

    Args:
        loss: name of the response loss that compares them.
        student: with the data's classes and names, see :func:`student_for`.
        teacher: any YOLO model.

    Returns:
        The map, and lines that say it.

    Raises:
        ConfigError: no common class, a name that could mean two, other class counts without names, or a softmax over
            one class.
    """
    num_own, num_other = (head_facts(model).num_classes for model in (student, teacher))
    own, other = class_names(student), class_names(teacher)
    if own is not None and own == other:
        found, notes = ClassMap(), [f"{ALL_MATCHED} {num_own} classes, in the same order"]
    elif own is None or other is None:
        found, notes = _by_number(loss, num_own, num_other, "teacher" if other is None else "data")
    else:
        found, notes = _by_name(loss, own, other)
    if loss == "kl" and len(found.student or range(num_own)) == 1:
        raise ConfigError(
            "kl over 1 class is identically 0: softmax over one class is always 1. Use --loss bkd, which is defined "
            "for one class."
        )
    return found, notes


def _by_number(loss: str, num_own: int, num_other: int, nameless: str) -> tuple[ClassMap, list[str]]:
    if num_own != num_other:
        raise ConfigError(
            f"teacher has {num_other} classes, data has {num_own}: response losses ({loss}) need equal classes, or"
            f" names that tell which are the same. {HELP}"
        )
    return ClassMap(), [f"matched by number: the {nameless} has no class names"]


def _by_name(loss: str, own: list[str], other: list[str]) -> tuple[ClassMap, list[str]]:
    own_keys, other_keys = [_key(name) for name in own], [_key(name) for name in other]
    shared = [i for i, key in enumerate(own_keys) if key in set(other_keys)]
    if not shared:
        raise ConfigError(
            f"teacher has the classes {_listed(other)}, data has {_listed(own)}: none in common, so response losses"
            f" ({loss}) have nothing to compare. {HELP} If they are the same under other names, give them the same."
        )
    _check_ambiguous(loss, own, own_keys, other, other_keys)
    place = {key: i for i, key in enumerate(other_keys)}
    found = ClassMap(tuple(shared), tuple(place[own_keys[i]] for i in shared))
    pairs = [f"{shown(own[i])[1:-1]}->{place[own_keys[i]]}" for i in shared]
    notes = [f"matched by name: {first_few(pairs, 10)} ({len(shared)} of {len(own)} are taught)"]
    alone = [own[i] for i, key in enumerate(own_keys) if key not in place]
    unused = [name for name, key in zip(other, other_keys, strict=True) if key not in set(own_keys)]
    if alone:
        notes.append(f"not taught, the teacher does not know them: {_listed(alone)}")
    if unused:
        notes.append(f"not used, the data does not have them: {_listed(unused)}")
    if found == ClassMap(tuple(range(len(own))), tuple(range(len(other)))):
        found = ClassMap()  # the same but for case and spaces
    return found, notes


def _key(name: str) -> str:
    """A name without what people write differently: case and spaces."""
    return " ".join(name.split()).casefold()


def _check_ambiguous(loss: str, own: list[str], own_keys: list[str], other: list[str], other_keys: list[str]) -> None:
    """Refuses a shared name that several classes of one side have."""
    for role, names, keys, elsewhere in (("data", own, own_keys, other_keys), ("teacher", other, other_keys, own_keys)):
        twice = next((key for key, count in Counter(keys).items() if count > 1 and key in set(elsewhere)), None)
        if twice is not None:
            found = ", ".join(f"{i} {shown(names[i])}" for i, key in enumerate(keys) if key == twice)
            raise ConfigError(
                f"classes {found} of the {role} have the same name, so which of them the other side means is not known"
                f" ({loss} compares classes by name). Give them different names. {HELP}"
            )


def _listed(names: list[str]) -> str:
    return f"[{first_few([shown(name) for name in names], 10)}]"
