"""The contract of every ReID loss: what it is called with, what it is built from, and the registry.

A loss names in its ``forward`` what it reads of a batch; the objective hands it that, by name, and nothing else is
computed. Rows of the whole batch are those of all processes, ``own_`` are those of this process alone:

==================  ==================  ===============================================================
features_nd         (N,D)               features before BNNeck's norm, whole batch
logits_nk           (N,K)               logits of the head with its margin, whole batch
targets_n           (N)                 index of each row's identity, whole batch
local_nhd           (N,H,128)           stripes of unit length (needs ``network.local``), whole batch
triplets            ``Triplets``        hardest rows of ``features_nd``, whole batch
own_features_nd     (N,D)               features after BNNeck's norm
own_logits_nk       (N,K)               logits of the head without its margin
own_targets_n       (N)                 index of each row's identity
own_stages          stage: (N,C,H,W)    maps after the ReLU
own_pre_relu        stage: (N,C,H,W)    maps before the ReLU
teacher_features    list of (N,D)       features before the norm, one tensor per teacher, whole batch
teacher_logits      list of (N,K)       logits without a margin, one tensor per teacher
teacher_pre_relu    list of the maps    maps before the ReLU, one mapping per teacher
==================  ==================  ===============================================================

Its constructor names its parameters with their defaults, as ``terms: [{loss, weight, params}]`` sets them, and what the
networks decide (:data:`OF_THE_NETWORKS`). It returns one scalar, in float32 at least and outside autocast
(:func:`kd_yolo.reid.losses.precision.in_full_precision`), with no gradient for a teacher; it knows neither its weight
nor its name in the log.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import Registry, nearest
from kd_yolo.reid.model.settings import STAGES

INPUTS = (
    "features_nd", "logits_nk", "targets_n", "local_nhd", "triplets",
    "own_features_nd", "own_logits_nk", "own_targets_n", "own_stages", "own_pre_relu",
    "teacher_features", "teacher_logits", "teacher_pre_relu",
)  # fmt: skip
# Constructor parameters that the networks decide, each with a small value that settings are checked with.
OF_THE_NETWORKS: dict[str, Callable[[], Any]] = {
    "num_identities": lambda: 2,
    "dim": lambda: 2,
    "channels": lambda: dict.fromkeys(STAGES, 1),  # of the student's stages, by name in order
    "teacher_norms": lambda: [{stage: nn.BatchNorm2d(1) for stage in STAGES}],  # last norm of each stage, per teacher
}


class ReIDLoss(nn.Module):
    """Base of all losses; subclasses implement ``forward`` on inputs of the table above and return a scalar.

    Attributes:
        paper: where the formula comes from.
    """

    paper: ClassVar[str]

    def __init__(self) -> None:
        """Takes no parameters; without this the registry would see nn.Module's ``*args, **kwargs``."""
        super().__init__()

    def __init_subclass__(cls) -> None:
        """Refuses a ``forward`` that reads what no batch has."""
        super().__init_subclass__()
        for name in cls.reads():
            if name not in INPUTS:
                raise ConfigError(
                    f"{cls.__name__}.forward reads '{name}', which no batch has.{nearest(name, INPUTS)}"
                    f" Known: {', '.join(INPUTS)}."
                )

    @classmethod
    def reads(cls) -> tuple[str, ...]:
        """Names of what the loss is called with; none for a class without a ``forward`` of its own."""
        has_own = cls.forward is not nn.Module.forward
        return tuple(inspect.signature(cls.forward).parameters)[1:] if has_own else ()


losses: Registry[ReIDLoss] = Registry("loss", ReIDLoss, group="kd_yolo.reid_losses")


def build_loss(name: str, networks: Mapping[str, Callable[[], Any]], params: Mapping[str, Any]) -> ReIDLoss:
    """Builds a loss.

    Args:
        name: a registered name.
        networks: what the networks decide, by the names of :data:`OF_THE_NETWORKS`; asked only for what is needed.
        params: its other constructor parameters.

    Raises:
        ConfigError: unknown name or parameter (the message has the nearest spelling), a value out of range, or one that
            the networks decide.
    """
    known = losses.parameters(name)
    own = [key for key in known if key not in OF_THE_NETWORKS]
    for key in params:
        if key not in own:
            hint = " The networks decide it." if key in OF_THE_NETWORKS else nearest(key[:100], own)
            takes = f"It takes: {', '.join(own) or 'none'}."
            raise ConfigError(f"loss '{name}' has no parameter {shown(key)}.{hint} {takes}")
    return losses.build(name, **{key: networks[key]() for key in known if key in OF_THE_NETWORKS}, **params)


def check_loss(name: str, params: Mapping[str, Any]) -> None:
    """Checks name and parameters of a loss without the networks; leaves the global random state alone.

    Raises:
        ConfigError: see :func:`build_loss`.
    """
    with torch.random.fork_rng(devices=[]):
        build_loss(name, OF_THE_NETWORKS, params)
