"""The state of an interrupted run, taken out of a checkpoint and put back only where it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown
from kd_yolo.reid.model.checkpoint import Checkpoint, settings_of
from kd_yolo.reid.model.restore import as_input_error, check_shapes
from kd_yolo.reid.settings import ReIDConfig

_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})
KEPT = {"adam": _ADAM, "adamw": _ADAM, "sgd": frozenset({"momentum_buffer"})}  # for each parameter


# Where versions before the terms kept the parameters of losses.
_FORMER = {"center.": "terms.center.", "self_kd.": "terms.self_kd.", "overhaul.": "terms.kd_overhaul.each."}


def under_terms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of an objective with the names of today; unfinished runs of older versions have others."""
    names = {key: next((old for old in _FORMER if key.startswith(old)), "") for key in state}
    return {_FORMER.get(old, "") + key.removeprefix(old): state[key] for key, old in names.items()}


def settings_to_go_on(checkpoint: Checkpoint, last: Path) -> ReIDConfig:
    """The settings of the run that a checkpoint goes on with.

    Raises:
        InputError: the run is finished, or the checkpoint has no settings or others than its epochs tell.
    """
    config = settings_of(checkpoint, last)
    if config is None or checkpoint.extra.get("train") is None:
        raise InputError(f"{last} holds no state to go on from: the run is finished. Start a new one with --start.")
    rows = checkpoint.extra["train"]["rows"]
    if not 0 < checkpoint.epoch <= config.train.epochs or len(rows) != checkpoint.epoch or config.data is None:
        raise InputError(
            f"{last} says epoch {checkpoint.epoch} of {config.train.epochs} with {len(rows)} rows of results: it is"
            " damaged. Start a new run with --start."
        )
    return config


def restore_modules(trained: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Loads weights that have exactly the names and shapes of the module's, all finite.

    Raises:
        InputError: they do not.
    """
    check_shapes(trained, state, source)
    _check_finite(state, source)
    trained.load_state_dict(state)


def restore_optimizer(optimizer: Optimizer, state: dict[int, dict[str, Any]], kind: str, source: str) -> None:
    """Loads what an optimizer keeps for each parameter; its settings stay those that it was made with.

    Args:
        optimizer: as made for the run.
        state: by the parameter's number.
        kind: as ``train.optimizer`` says it.
        source: the checkpoint's name.

    Raises:
        InputError: it is not what this optimizer keeps for these parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, kept in state.items():
        name = f"optimizer.{number}"
        if not 0 <= number < len(parameters) or set(kept) != KEPT[kind]:
            raise InputError(f"{source} holds the state of another optimizer ({name}: {shown(sorted(kept))}).")
        tensors = {f"{name}.{key}": torch.as_tensor(value) for key, value in kept.items()}
        _check_finite(tensors, source)
        for key, value in tensors.items():
            if value.shape != (torch.Size() if key.endswith(".step") else parameters[number].shape):
                raise InputError(f"{source}: {key} has shape {tuple(value.shape)}, its parameter another one.")
            if key.endswith(("step", "exp_avg_sq")) and bool((value < 0).any()):
                raise InputError(f"{source}: {key} is below 0.")
    with as_input_error(source):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore_generator(state: Tensor, source: str) -> None:
    """Puts torch's generator back.

    Raises:
        InputError: it is no state of one.
    """
    with as_input_error(source):
        torch.set_rng_state(state)


def _check_finite(values: dict[str, Tensor], source: str) -> None:
    for name, value in values.items():
        if value.is_complex() or (value.is_floating_point() and not bool(torch.isfinite(value).all())):
            raise InputError(f"{name} in {source} holds values that are no finite numbers: it is damaged.")
