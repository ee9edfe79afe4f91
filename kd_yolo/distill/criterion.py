"""The criterion: the task's own loss plus the weighted distillation terms, as one vector with named items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.config.distill import UNLABELLED_SUFFIX
from kd_yolo.distill.adapters import TrainingOnly
from kd_yolo.distill.balance import Balance, crossing_of, gradient_norms
from kd_yolo.distill.build import named_terms
from kd_yolo.distill.outputs import BranchKey, Labels, Outputs, boxes_of, watch_assigner
from kd_yolo.distill.split import split_batch, split_predictions
from kd_yolo.distill.taps import TapError, read_layers, read_modules
from kd_yolo.distill.teacher import Teacher
from kd_yolo.geometry.schedule import Schedule
from kd_yolo.yolo.heads import head_branches, head_facts, raw_outputs

TASK = "task"  # the labels' loss among the gradient norms


@dataclass(frozen=True)
class WeightedTerm:
    """A term's weight and its schedule."""

    weight: float
    schedule: Schedule

    def at(self, progress: float) -> float:
        """The factor of the term at ``progress``."""
        return self.weight * self.schedule(progress)


@dataclass(frozen=True)
class _Part:
    """Some images of a batch: the labelled or the unlabelled ones, or all."""

    suffix: str
    images: slice
    count: int
    labels: Labels | None


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
        self.base: Any = None  # built at the first call: class weights are set after the criterion
        self.factors: dict[str, float] = {}
        self.skipped = dict.fromkeys(self.columns, 0)
        self.static_graph = False  # DDP with compile: every parameter needs a gradient in every step
        self.measure_next = False
        self.on_skip: Callable[[str, float], None] | None = None
        self.head_layers = head_facts(model).layers
        members = [member for term in named_terms(terms).values() for member in term.members()]
        layers = {pair.student.layer for member in members for pair in member.pairs}
        self.extra_layers = sorted(layers - set(self.head_layers))
        self.reads_branches = any(member.reads_branches for member in members)
        self.needs_labels = any(member.needs_labels for member in members)
        self._pending: list[Outputs] = []
        self._reading = ExitStack()
        self._seen: dict[int, Tensor] = {}
        self._branches: dict[BranchKey, Tensor] = {}
        self._inside: Any = None

    @property
    def hooks_student(self) -> bool:
        """Whether hooks on the student are needed in every step."""
        return bool(self.extra_layers) or self.reads_branches

    def observe(self, image_nchw: Tensor, progress: float) -> None:
        """Runs the teachers on the batch that the student is about to see, unless every term is off at ``progress``."""
        self.forget()
        self.factors = {name: self._factor(name, progress) for name in self.weights}
        if any(self.factors.values()):
            self._pending = [teacher(image_nchw) for teacher in self.teachers]
            if self.extra_layers:
                self._seen = self._reading.enter_context(read_layers(self.model, self.extra_layers))
            if self.reads_branches:
                self._branches = self._reading.enter_context(read_modules(head_branches(self.model)))

    def _factor(self, name: str, progress: float) -> float:
        weighted = self.weights[name]
        automatic = self.balance.weights.get(name)
        return weighted.at(progress) if automatic is None else automatic * weighted.schedule(progress)

    def keep_inside(self, _module: nn.Module, _inputs: Any, outputs: Any) -> None:
        """A forward hook on what DDP with a static graph wraps: keeps its outputs for a measurement that is due."""
        if self.measure_next:
            self._inside = outputs

    def forget(self) -> None:
        """Drops what was observed and removes the hooks on the student (after a failed step)."""
        self._pending, self._seen, self._branches, self._inside = [], {}, {}, None
        with suppress(TapError):  # the forward pass that should have filled the taps never ran
            self._reading.close()

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss vector, scaled by the batch size as ultralytics does, and its detached items by name."""
        if self.base is None:
            self.base = self.model.init_criterion()  # type: ignore[operator]
        if not self.model.training:
            return self.base(preds, batch)  # type: ignore[no-any-return]
        labelled = batch.get("num_labelled")
        own = (preds, batch) if labelled is None else (split_predictions(preds, labelled), split_batch(batch))
        with ExitStack() as watching:
            assigned = watching.enter_context(watch_assigner(self.base)) if self._watches else []
            loss, items = self.base(*own)
        parts = self._parts(batch, assigned)
        values, named = self._distil(preds, loss, parts)
        total = torch.stack(list(values.values())).sum() if values else torch.zeros((), device=loss.device)
        self._weigh(preds, loss, values, total)
        return torch.cat([loss.reshape(-1), total.reshape(1)]), {**items, **named}

    @property
    def _watches(self) -> bool:
        return self.needs_labels and bool(self._pending)

    def _parts(self, batch: dict[str, Any], assigned: list[Tensor]) -> list[_Part]:
        """Labelled images first, as they stand in the batch."""
        whole = int(batch["img"].shape[0])
        count = int(batch.get("num_labelled", whole))
        labels = None
        if self._watches:
            height, width = batch["img"].shape[-2:]
            labels = Labels(boxes_of(batch, count), (height, width), assigned[0] if assigned else None)
        parts = [_Part("", slice(0, count), count, labels)]
        if count < whole:
            parts.append(_Part(UNLABELLED_SUFFIX, slice(count, whole), whole - count, None))
        return parts

    def _distil(self, preds: Any, like: Tensor, parts: list[_Part]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The weighted terms times their images, and their means by column: zero when nothing was observed."""
        zero = torch.zeros((), device=like.device)
        values: dict[str, Tensor] = {}
        named = dict.fromkeys(self.columns, zero)
        teachers, self._pending = self._pending, []
        student = self._student_outputs(preds) if teachers else None
        for part in parts:
            own = None if student is None else student if len(parts) == 1 else student.images(part.images)
            others = teachers if len(parts) == 1 else [teacher.images(part.images) for teacher in teachers]
            for name in self.weights:
                value = None if own is None else self._value(name, part, own, others)
                if value is not None:
                    named[name + part.suffix] = value.detach()
                    values[name] = values.get(name, zero) + value * part.count
        if self.static_graph:
            values |= {name: zero_of(self.terms[name]) for name in self.weights if name not in values}
        return values, named

    def _value(self, name: str, part: _Part, student: Outputs, teachers: Sequence[Outputs]) -> Tensor | None:
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

    def _weigh(self, preds: Any, loss: Tensor, values: dict[str, Tensor], total: Tensor) -> None:
        """Notes the shares of the loss, and of the gradient where that is due."""
        task = loss.sum()
        self.balance.add_loss(task, total)
        inside, self._inside = self._inside, None
        if self.measure_next and any(self.factors.values()):
            own = {id(p) for p in self.terms.parameters()}
            shared = [p for p in self.model.parameters() if p.requires_grad and id(p) not in own]
            losses = {TASK: task, **{name: values.get(name) for name in self.weights}}
            norms = gradient_norms(losses, shared, () if inside is None else crossing_of(preds, inside))
            self.balance.take(norms, self.factors, TASK)
            self.measure_next = False

    def _student_outputs(self, preds: Any) -> Outputs:
        raw = raw_outputs(preds)
        features = dict(zip(self.head_layers, raw["feats"], strict=True))
        seen, branches = self._seen, self._branches
        self._reading.close()  # raises when a tapped layer did not run exactly once
        self._seen, self._branches = {}, {}
        return Outputs({**features, **seen}, raw, branches)

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
