"""The criterion: the task's own loss plus the weighted distillation terms, as one vector with named items."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.distill.adapters import TrainingOnly
from kd_yolo.distill.taps import TapError, read_layers
from kd_yolo.distill.teacher import Teacher, TeacherOutputs
from kd_yolo.distill.terms import StudentOutputs, named_terms
from kd_yolo.geometry.schedule import Schedule
from kd_yolo.yolo.heads import head_facts, raw_outputs


@dataclass(frozen=True)
class WeightedTerm:
    """A term's weight and its schedule."""

    weight: float
    schedule: Schedule

    def at(self, progress: float) -> float:
        """The factor of the term at ``progress``."""
        return self.weight * self.schedule(progress)


class DistillCriterion:
    """Stands where ultralytics expects ``model.criterion``; a plain callable, so that the student stays a plain model.

    One step is: :meth:`observe` (before the student's forward pass), the student's forward pass, then a call with its
    predictions. Without a preceding ``observe`` the call is the task loss alone.

    Args:
        model: the live student, not wrapped.
        terms: the terms by column name.
        teacher: the frozen teacher.
        weights: weight and schedule by column name.
    """

    def __init__(
        self, model: nn.Module, terms: TrainingOnly, teacher: Teacher, weights: dict[str, WeightedTerm]
    ) -> None:
        self.model, self.terms, self.teacher, self.weights = model, terms, teacher, weights
        self.base: Any = None  # built at the first call: class weights are set after the criterion
        self.factors: dict[str, float] = {}
        self.skipped = dict.fromkeys(weights, 0)
        self.static_graph = False  # DDP with compile: every parameter needs a gradient in every step
        self.on_skip: Callable[[str, float], None] | None = None
        self.head_layers = head_facts(model).layers
        layers = {pair.student.layer for term in named_terms(terms).values() for pair in term.pairs}
        self.extra_layers = sorted(layers - set(self.head_layers))
        self._pending: TeacherOutputs | None = None
        self._reading = ExitStack()
        self._seen: dict[int, Tensor] = {}

    def observe(self, image_nchw: Tensor, progress: float) -> None:
        """Runs the teacher on the batch that the student is about to see, unless every term is off at ``progress``."""
        self.forget()
        self.factors = {name: weighted.at(progress) for name, weighted in self.weights.items()}
        if any(self.factors.values()):
            self._pending = self.teacher(image_nchw)
            if self.extra_layers:
                self._seen = self._reading.enter_context(read_layers(self.model, self.extra_layers))

    def forget(self) -> None:
        """Drops what was observed and removes the hooks on the student (after a failed step)."""
        self._pending, self._seen = None, {}
        with suppress(TapError):  # the forward pass that should have filled the taps never ran
            self._reading.close()

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss vector, scaled by the batch size as ultralytics does, and its detached items by name."""
        if self.base is None:
            self.base = self.model.init_criterion()  # type: ignore[operator]
        loss, items = self.base(preds, batch)
        if not self.model.training:
            return loss, items
        total, named = self._distil(preds, loss)
        vector = torch.cat([loss.reshape(-1), (total * batch["img"].shape[0]).reshape(1)])
        return vector, {**items, **named}

    def _distil(self, preds: Any, like: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of the weighted terms, and each of them by name; all zero when the teacher was not run."""
        total = torch.zeros((), device=like.device)
        named = dict.fromkeys(self.weights, total)
        teacher, self._pending = self._pending, None
        student = None if teacher is None else self._student_outputs(preds)
        for name in self.weights:
            value = None if student is None or teacher is None else self._value(name, student, teacher)
            if value is not None:
                total, named[name] = total + value, value.detach()
            elif self.static_graph:
                total = total + zero_of(self.terms[name])
        return total, named

    def _value(self, name: str, student: StudentOutputs, teacher: TeacherOutputs) -> Tensor | None:
        """One weighted term; None when it is off, or not finite and therefore skipped."""
        factor = self.factors[name]
        if factor == 0:
            return None
        value: Tensor = factor * self.terms[name](student, teacher)
        if bool(torch.isfinite(value.detach())):
            return value
        self.skipped[name] += 1
        if self.on_skip is not None:
            self.on_skip(name, float(value.detach()))
        return None

    def _student_outputs(self, preds: Any) -> StudentOutputs:
        raw = raw_outputs(preds)
        features = dict(zip(self.head_layers, raw["feats"], strict=True))
        if self.extra_layers:
            seen = self._seen
            self._reading.close()  # raises when a tapped layer did not run exactly once
            features |= seen
            self._seen = {}
        return StudentOutputs(features, raw)

    def __getattr__(self, name: str) -> Any:
        """Lets the trainer see ``update`` exactly when the task's criterion has one (end-to-end heads)."""
        update = getattr(self.__dict__.get("base"), "update", None)
        if name == "update" and update is not None:
            return update
        raise AttributeError(name)

    def __reduce__(self) -> Any:
        return type(None), ()  # for pickle and for deepcopy


def zero_of(module: nn.Module) -> Tensor:
    """0 with a gradient of 0 for every parameter of a module, also where parameters are not finite."""
    never = torch.zeros((), dtype=torch.bool, device=next(module.parameters(), torch.zeros(())).device)
    return sum((torch.where(never, p, 0.0).sum() for p in module.parameters()), torch.zeros((), device=never.device))
