"""The criterion: the task's own loss plus the weighted distillation terms, as one vector with named items."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.distill.adapters import TrainingOnly
from kd_yolo.distill.balance import Balance, crossing_of, gradient_norms
from kd_yolo.distill.build import named_terms
from kd_yolo.distill.outputs import Labels, Outputs, watch_assigner
from kd_yolo.distill.split import NUM_LABELLED, Part, labels_of, parts_of, split_batch, split_predictions
from kd_yolo.distill.student import StudentReader
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.geometry.schedule import Schedule

TASK = "task"  # the labels' loss among the gradient norms


class DistillCriterion:
    """Stands where ultralytics expects ``model.criterion``; a plain callable, so that the student stays a plain model.

    One step is: :meth:`observe` (before the student's forward pass), the student's forward pass, then a call with its
    predictions. Without a preceding ``observe`` the call is the task loss alone. Every term counts an image as much as
    the task's loss does: its mean over the images is multiplied by their number. Images without labels have columns
    of their own and are never shown to the task's loss.

    Args:
        model: the live student, not wrapped.
        terms: the terms by column name.
        teachers: the frozen teachers.
        weights: weight and schedule by column name.
        columns: names of all items, those of unlabelled images included.
        balance: measures shares, and sets automatic weights.
    """

    factors: dict[str, float]  # of each term now
    _pending: list[Outputs]  # of the teachers, for the call to come
    _times = 1  # for how many steps the terms of this one count

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss vector, scaled by the batch size as ultralytics does, and its detached items by name."""
        if not self.model.training:
            return self._task()(preds, batch)  # type: ignore[no-any-return]
        task_loss, items, labels = self._task_loss(preds, batch)
        teachers, self._pending = self._pending, []
        student = self.student.outputs(preds) if teachers else None
        terms, means = self._weighted_terms(student, teachers, parts_of(batch, labels))
        distilled = sum_of(terms.values(), task_loss.device)
        self._measure_shares(preds, task_loss.sum(), distilled, terms)
        return torch.cat([task_loss.reshape(-1), distilled.reshape(1)]), {**items, **means}

    def observe(self, batch: dict[str, Any], progress: float, *, times: int = 1) -> None:
        """Runs the teachers on the batch that the student is about to see, unless every term is off.

        Args:
            batch: ultralytics' batch; ``img`` (N,C,H,W) is shown to the teachers.
            progress: of the run.
            times: for how many steps the terms of this one count; 0 for a step without the teachers.
        """
        self.forget()
        self.factors = {name: times * self._factor(name, progress) for name in self.weights}
        self._times = times
        if any(self.factors.values()):
            self._pending = [teacher(batch["img"]) for teacher in self.teachers]
            self.student.watch()

    def __init__(
        self,
        model: nn.Module,
        terms: TrainingOnly,
        teachers: Sequence[Teacher],
        weights: dict[str, WeightedTerm],
        *,
        columns: Sequence[str] = (),
        balance: Balance | None = None,
    ) -> None:
        self.model, self.terms, self.teachers, self.weights = model, terms, list(teachers), weights
        self.columns = list(columns) or list(weights)
        self.balance = balance or Balance({})
        self.student = StudentReader(model, terms)
        self.base: Any = None  # built at the first call: class weights are set after the criterion
        self.factors = {}
        self.skipped = dict.fromkeys(self.columns, 0)
        self.static_graph = False  # DDP with compile: every parameter needs a gradient in every step
        self.measure_next = False
        self.on_skip: Callable[[str, float], None] | None = None
        members = [member for term in named_terms(terms).values() for member in term.members()]
        self.needs_labels = any(member.needs_labels for member in members)
        self._pending = []
        self._inside: Any = None

    def forget(self) -> None:
        """Drops what was observed and removes the hooks on the student (after a failed step)."""
        self._pending, self._inside = [], None
        self.student.forget()

    def keep_inside(self, _module: nn.Module, _inputs: Any, outputs: Any) -> None:
        """A forward hook on what DDP with a static graph wraps: keeps its outputs for a measurement that is due."""
        if self.measure_next:
            self._inside = outputs

    def _factor(self, name: str, progress: float) -> float:
        weighted = self.weights[name]
        automatic = self.balance.weights.get(name)
        return weighted.at(progress) if automatic is None else automatic * weighted.schedule(progress)

    def _task(self) -> Any:
        """The task's own criterion."""
        if self.base is None:
            self.base = self.model.init_criterion()  # type: ignore[operator]
        return self.base

    def _task_loss(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor], Labels | None]:
        """The task's loss on the labelled images, and what the terms look at of their labels."""
        task, watches = self._task(), self.needs_labels and bool(self._pending)
        count = batch.get(NUM_LABELLED)
        own = (preds, batch) if count is None else (split_predictions(preds, count), split_batch(batch))
        with ExitStack() as watching:
            assigned = watching.enter_context(watch_assigner(task)) if watches else []
            loss, items = task(*own)
        return loss, items, labels_of(batch, assigned[0] if assigned else None) if watches else None

    def _weighted_terms(
        self, student: Outputs | None, teachers: Sequence[Outputs], parts: Sequence[Part]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Each term times weight and number of images, and its mean by column: zero when nothing was observed."""
        zero = torch.zeros((), device=next(self.model.parameters()).device)
        values: dict[str, Tensor] = {}
        means = dict.fromkeys(self.columns, zero)
        models = [] if student is None else [student, *teachers]
        for part in parts if models else ():
            own, *others = models if len(parts) == 1 else [outputs.images(part.images) for outputs in models]
            for name in self.weights:
                value = self._weighted_term(name, part, own, others)
                if value is not None:
                    means[name + part.suffix] = value.detach()
                    values[name] = values.get(name, zero) + value * (part.num_images / self._unit(parts))
        if self.static_graph:
            values |= {name: zero_of(self.terms[name]) for name in self.weights if name not in values}
        return values, means

    def _unit(self, parts: Sequence[Part]) -> int:
        """How many images count as one: one, as the task's loss grows with the batch."""
        del parts
        return 1

    def _weighted_term(self, name: str, part: Part, student: Outputs, teachers: Sequence[Outputs]) -> Tensor | None:
        """One weighted term; None when it is off, or not finite and therefore skipped."""
        factor = self.factors[name]
        if factor == 0:
            return None
        value: Tensor = factor * self.terms[name](student, teachers, part.labels)
        if bool(torch.isfinite(value.detach())):
            return value
        self.skipped[name + part.suffix] += 1
        if self.on_skip is not None:
            self.on_skip(name + part.suffix, float(value.detach()))
        return None

    def _measure_shares(self, preds: Any, task: Tensor, distilled: Tensor, terms: dict[str, Tensor]) -> None:
        """Notes the shares of the loss, and of the gradient where that is due."""
        self.balance.add_loss(task, distilled)
        inside, self._inside = self._inside, None
        if self.measure_next and any(self.factors.values()):
            own = {id(p) for p in self.terms.parameters()}
            shared = [p for p in self.model.parameters() if p.requires_grad and id(p) not in own]
            losses = {TASK: task, **{name: terms.get(name) for name in self.weights}}
            norms = gradient_norms(losses, shared, () if inside is None else crossing_of(preds, inside))
            norms = {name: norm if name == TASK else norm / self._times for name, norm in norms.items()}
            self.balance.take(norms, {name: factor / self._times for name, factor in self.factors.items()}, TASK)
            self.measure_next = False

    def __getattr__(self, name: str) -> Any:
        """Lets the trainer see ``update`` exactly when the task's criterion has one (end-to-end heads)."""
        update = getattr(self.__dict__.get("base"), "update", None)
        if name == "update" and update is not None:
            return update
        raise AttributeError(name)

    def __reduce__(self) -> Any:
        return type(None), ()  # for pickle and for deepcopy


@dataclass(frozen=True)
class WeightedTerm:
    """A term's weight and its schedule."""

    weight: float
    schedule: Schedule

    def at(self, progress: float) -> float:
        """The factor of the term at ``progress``."""
        return self.weight * self.schedule(progress)


def sum_of(values: Collection[Tensor], device: torch.device) -> Tensor:
    """The sum of scalars, 0 of none."""
    return torch.stack(list(values)).sum() if values else torch.zeros((), device=device)


def zero_of(module: nn.Module) -> Tensor:
    """0 with a gradient of 0 for every parameter of a module, also where parameters are not finite."""
    never = torch.zeros((), dtype=torch.bool, device=next(module.parameters(), torch.zeros(())).device)
    return sum((torch.where(never, p, 0.0).sum() for p in module.parameters()), torch.zeros((), device=never.device))
