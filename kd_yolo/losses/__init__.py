"""Distillation losses: one file, one registered name, one test file each.

In come a student and a teacher tensor of equal shape (feature maps of one level, or head outputs) and what the loss
names as context (a gate, scores); out goes one scalar, in float32 at least, with a gradient for the student only. This
package knows no detector, no weight and no schedule: those are the criterion's. ``base.py`` holds the contract and the
legend of tensor names. Every module of this folder is imported here, so a new loss is a new file and its test.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import DistillationLoss, FeatureLoss, ResponseLoss, losses

__all__ = [
    "DistillationLoss",
    "FeatureLoss",
    "LossInfo",
    "ResponseLoss",
    "build_loss",
    "describe_losses",
    "loss_names",
    "losses",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


@dataclass(frozen=True)
class LossInfo:
    """What ``--list-losses`` prints about one loss.

    Attributes:
        name: the registered name, as YAML and ``--loss`` use it.
        summary: the first line of the class's docstring.
        paper: where the formula comes from.
        kind: ``"feature"`` or ``"response"``.
        parameters: constructor parameters, ``"tau=1.0"``, or the bare name where there is no default.
        weight: of a term that says none: ``"weight 2"``, or ``"weight for 10 % of the gradient"``.
    """

    name: str
    summary: str
    paper: str
    kind: str
    parameters: tuple[str, ...]
    weight: str


def build_loss(name: str, **params: Any) -> DistillationLoss:
    """Builds a loss by name.

    Args:
        name: a registered name, see :func:`loss_names`.
        **params: its constructor parameters.

    Returns:
        A module, called as ``loss(student, teacher, **context)``; it returns a scalar.

    Raises:
        ConfigError: unknown name or parameter (the message has the nearest spelling), a required parameter is missing,
            or a value is out of range.
    """
    return losses.build(name, **params)


def loss_names() -> list[str]:
    """All registered names, sorted."""
    return losses.names()


def describe_losses() -> list[LossInfo]:
    """Every loss with its summary, paper, kind and parameters, sorted by name.

    One of an installed package that cannot be used is left out: ``losses.problems()`` says why.
    """
    found = []
    for name in loss_names():
        with suppress(ConfigError):
            found.append(_describe(name))
    return found


def _describe(name: str) -> LossInfo:
    cls = losses.get(name)
    summary = (inspect.getdoc(cls) or "").split("\n", 1)[0]
    parameters = tuple(
        key if parameter.default is parameter.empty else f"{key}={parameter.default}"
        for key, parameter in losses.parameters(name).items()
    )
    share = cls.default_share
    weight = f"weight {cls.default_weight:g}" if share is None else f"weight for {100 * share:g} % of the gradient"
    return LossInfo(name, summary, getattr(cls, "paper", "no paper named"), cls.kind, parameters, weight)
