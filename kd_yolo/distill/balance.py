"""How much of the training is distillation: shares of the loss and of the gradient, and weights that keep a share."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from kd_yolo.base.files import write_bytes

WARN_ABOVE = {"loss_share": 0.6, "gradient_share": 0.8}  # above it distillation crowds the labels out; the recipe that
# brings a pruned network back best (docs/results/after_pruning) has 40 to 75 % of the gradient
WARN_BELOW = (
    0.01  # share of the gradient in the first epoch, at full weight, below which a term teaches next to nothing
)
SMOOTHING = 0.5  # of the logarithm of an automatic weight, from one measurement to the next
SCALE = 1024.0  # half-precision gradients of a single batch would vanish; shares do not depend on it


Crossing = Sequence[tuple[Tensor, Tensor]]  # what DDP handed out, and what the network inside gave for it


def gradient_norms(
    losses: Mapping[str, Tensor | None], parameters: Sequence[nn.Parameter], crossing: Crossing = ()
) -> dict[str, float]:
    """L2 norm of the gradient of each loss alone; the graph stays for the training step.

    DDP with a static graph takes the first backward pass through its outputs for the first training step, notes which
    gradients it brought, and waits for these from then on. A measurement there brings none: it has to go around.

    Args:
        losses: scalars; None, or one without a graph, has no gradient. The same names on every process.
        parameters: what the gradient is taken with respect to.
        crossing: outputs of the network that the losses are made of, outside and inside of DDP, where the measurement
            goes from one to the other; empty without a static graph.

    Returns:
        A norm for each loss, the same on every process of a distributed run.
    """
    together = torch.stack([_norm(loss, parameters, crossing) for loss in losses.values()])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(together)
        together = together / dist.get_world_size()
    return dict(zip(losses, together.tolist(), strict=True))


def _norm(loss: Tensor | None, parameters: Sequence[nn.Parameter], crossing: Crossing) -> Tensor:
    none = torch.zeros((), device=parameters[0].device)
    if loss is None or not loss.requires_grad:
        return none
    ends, gradients = [SCALE * loss], None
    if crossing:
        found = torch.autograd.grad(ends, [outer for outer, _ in crossing], retain_graph=True, allow_unused=True)
        used = [(inner, g) for (_, inner), g in zip(crossing, found, strict=True) if g is not None]
        ends, gradients = [inner for inner, _ in used], [g for _, g in used]
    found = torch.autograd.grad(ends, parameters, gradients, retain_graph=True, allow_unused=True) if ends else ()
    squares = [g.detach().float().square().sum() for g in found if g is not None]
    return torch.stack([none, *squares]).sum().sqrt() / SCALE  # one of adapters alone has no gradient here


def crossing_of(outer: Any, inner: Any) -> Crossing:
    """Pairs the tensors with a gradient in two trees of lists, tuples and dicts that are built alike."""
    if isinstance(outer, Tensor):
        return [(outer, inner)] if outer.requires_grad else []
    if isinstance(outer, Mapping):
        return [pair for key in outer for pair in crossing_of(outer[key], inner[key])]
    if isinstance(outer, Sequence) and not isinstance(outer, str):
        return [pair for ours, theirs in zip(outer, inner, strict=True) for pair in crossing_of(ours, theirs)]
    return []


@dataclass
class Balance:
    """Measured shares, and the weights that follow from them.

    Attributes:
        shares: wanted share of each term whose weight is automatic, by column name.
        weights: their weights now.
        history: a row an epoch, for ``balance.csv`` and the image.
    """

    shares: dict[str, float]
    weights: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    _norms: dict[str, float] = field(default_factory=dict)
    _loss_sums: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)

    def add_loss(self, task: Tensor, distilled: Tensor) -> None:
        """Counts a batch's loss: that of the labels and that of the terms; nothing leaves the device here."""
        self._loss_sums = (self._loss_sums[0] + task.detach(), self._loss_sums[1] + distilled.detach())

    def take(self, norms: Mapping[str, float], factors: Mapping[str, float], task: str) -> None:
        """Takes a measurement and moves the automatic weights.

        Args:
            norms: gradient norm of the task's loss and of each weighted term.
            factors: what each term was multiplied by, schedule included.
            task: which of the norms is the task's.
        """
        self._norms = dict(norms)
        for name, share in self.shares.items():
            if factors.get(name, 0.0) and norms.get(name, 0.0) and norms[task]:
                wanted = share / (1 - share) * norms[task] / (norms[name] / factors[name])
                known = self.weights.get(name)
                if known is None or wanted < known / 2:  # a share that is far too large does not wait
                    self.weights[name] = wanted
                else:
                    self.weights[name] = known**SMOOTHING * wanted ** (1 - SMOOTHING)
                if known is None:  # only the step that was measured goes without: the epoch has the share from then on
                    self._norms[name] *= wanted / factors[name]

    def close_epoch(self, epoch: int, task: str) -> dict[str, float]:
        """Ends an epoch; returns its row: shares of loss and gradient, automatic weights."""
        task_loss, terms_loss = (float(total) for total in self._loss_sums)
        row = {"epoch": float(epoch), "loss_share": _share(terms_loss, task_loss)}
        terms = {name: norm for name, norm in self._norms.items() if name != task}
        whole = self._norms.get(task, 0.0) + sum(terms.values())
        row["gradient_share"] = _share(sum(terms.values()), self._norms.get(task, 0.0))
        row |= {f"gradient_share/{name}": norm / whole if whole else 0.0 for name, norm in terms.items()}
        row |= {f"weight/{name}": weight for name, weight in self.weights.items()}
        self.history = [*(r for r in self.history if r["epoch"] < epoch), row]
        self._loss_sums = (0.0, 0.0)
        return row

    def restart_epoch(self) -> None:
        """Forgets the batches of an epoch that begins, or begins again."""
        self._loss_sums = (0.0, 0.0)

    def state(self) -> dict[str, Any]:
        """What a resumed run goes on from, as plain values."""
        return {"weights": dict(self.weights), "history": [dict(row) for row in self.history]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from :meth:`state`."""
        self.weights, self.history = dict(state["weights"]), [dict(row) for row in state["history"]]


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest else 0.0


def write_balance(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Writes the rows of all epochs; beside the file, then renamed."""
    keys = list(dict.fromkeys(key for row in history for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, restval="")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in history)
    write_bytes(path, text.getvalue().encode())


def too_much(row: Mapping[str, float]) -> float | None:
    """The limit that an epoch's row is above; None when it is below both."""
    return next((limit for key, limit in WARN_ABOVE.items() if row[key] > limit), None)


def weak_terms(row: Mapping[str, float]) -> list[str]:
    """Terms with next to no share in the gradient; those that are off have none at all."""
    terms = {key.partition("/")[2]: share for key, share in row.items() if key.startswith("gradient_share/")}
    return [name for name, share in terms.items() if 0 < share < WARN_BELOW]


def describe(row: Mapping[str, float]) -> str:
    """One line on an epoch's row."""
    terms = {key.partition("/")[2]: x for key, x in row.items() if key.startswith("gradient_share/")}
    parts = ", ".join(f"{name} {share:.0%}" for name, share in terms.items())
    weights = {key.partition("/")[2]: x for key, x in row.items() if key.startswith("weight/")}
    tail = "".join(f"; {name} weighs {weight:.3g}" for name, weight in weights.items())
    return (
        f"distillation is {row['loss_share']:.0%} of the loss and {row['gradient_share']:.0%} of the gradient"
        f"{f' ({parts})' if parts else ''}{tail}"
    )
