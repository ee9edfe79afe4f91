"""All losses of a run in one sum: its terms, each with its weight, on what they read of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.reid.losses import build_loss
from kd_yolo.reid.model.backbones import last_norms
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.pre_relu import pre_relu_features
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.reid.train.batch import Batch
from kd_yolo.reid.train.distributed import World
from kd_yolo.reid.train.teachers import Teacher


@dataclass(frozen=True)
class Step:
    """A batch's loss.

    Attributes:
        total: what is minimised.
        parts: weighted losses by name, without gradient.
        accuracy: share of the batch that is classified right.
    """

    total: Tensor
    parts: dict[str, Tensor]
    accuracy: Tensor


class Objective(nn.Module):
    """The losses that a configuration asks for; their own parameters train with the network and are no part of it.

    Losses that compare images see the batch of all processes, those that are means over images their own share of it.

    Args:
        config: the run's.
        model: the student.
        teachers: frozen networks; not registered here.
        world: the processes that train together.
    """

    def __init__(self, config: ReIDConfig, model: ReIDModel, teachers: Sequence[Teacher], world: World) -> None:
        super().__init__()
        self.world, self._teachers = world, list(teachers)
        terms, decided = config.active_terms, _of_the_networks(model, self._teachers)
        self.weights = {name: term.weight for name, term in terms.items()}
        self.terms = nn.ModuleDict({name: build_loss(term.loss, decided, term.params) for name, term in terms.items()})
        self._read = {name: term.reads for name, term in terms.items()}

    def forward(self, model: ReIDModel, x_nchw: Tensor, targets_n: Tensor) -> Step:
        """The loss of a batch.

        Args:
            model: the student, in training mode.
            x_nchw: crops (N,3,H,W) of this process.
            targets_n: index of each crop's identity.
        """
        batch = self._run_networks(model, x_nchw, targets_n)
        parts = {}
        for name, loss in self.terms.items():
            parts[name] = self.weights[name] * loss(**{key: getattr(batch, key) for key in self._read[name]})
        with torch.no_grad():
            accuracy = (model.logits(batch.everyone).argmax(1) == batch.targets_n).float().mean()
        return Step(torch.stack(list(parts.values())).sum(), {k: v.detach() for k, v in parts.items()}, accuracy)

    def _run_networks(self, model: ReIDModel, x_nchw: Tensor, targets_n: Tensor) -> Batch:
        """One forward of all networks, with the maps that the losses read."""
        read = {key for keys in self._read.values() for key in keys}
        taught = [teacher(x_nchw, with_pre_relu="teacher_pre_relu" in read) for teacher in self._teachers]
        with ExitStack() as reading:
            maps = reading.enter_context(pre_relu_features(model.backbone)) if "own_pre_relu" in read else {}
            own = model.features(x_nchw, with_stages="own_stages" in read)
        return Batch(model, own, targets_n, dict(maps), taught, self.world)


def _of_the_networks(model: ReIDModel, teachers: Sequence[Teacher]) -> dict[str, Callable[[], Any]]:
    """See :data:`kd_yolo.reid.losses.base.OF_THE_NETWORKS`."""
    return {
        "num_identities": lambda: model.config.num_identities,
        "dim": lambda: model.dim,
        "channels": lambda: dict(model.backbone.channels),
        "teacher_norms": lambda: [last_norms(teacher.model.backbone) for teacher in teachers],
    }
