"""Whether weights are those of the network that a checkpoint describes, told before anything large is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.base.reading import shown


@contextmanager
def as_input_error(source: str) -> Iterator[None]:
    """What a checkpoint says is an input: everything that it makes go wrong is an ``InputError``.

    Args:
        source: name of the checkpoint.

    Raises:
        InputError: instead of a ``ConfigError`` and of every error that is none of ours.
    """
    try:
        yield
    except ConfigError as error:
        raise InputError(f"{source} describes a network that cannot be built: {error}") from error
    except KDYoloError:
        raise
    except Exception as error:  # torch's and timm's have no common class
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"the network in {source} cannot be built or run ({shown(reason, 200)}): train it again."
        ) from error


def check_shapes(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Compares names, shapes and kinds of numbers.

    Args:
        model: the network that is described, on any device: ``meta`` costs no memory.
        state: the weights.
        source: where they come from.

    Raises:
        InputError: they are others; the message has the first name.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in state]
    foreign = [name for name in state if name not in wanted]
    other = [
        f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    kinds = [
        f"{name} {state[name].dtype} for {value.dtype}"
        for name, value in wanted.items()
        if name in state and state[name].is_floating_point() != value.is_floating_point()
    ]
    parts = {"missing": missing, "not its own": foreign, "of another shape": other, "of another type": kinds}
    if any(parts.values()):
        found = "; ".join(f"{len(names)} {what} ({shown(names[0])})" for what, names in parts.items() if names)
        raise InputError(
            f"the weights in {source} are not those of the network that it describes: {found}. Train it again."
        )


def check_outputs(outputs: Mapping[str, Tensor], source: str) -> None:
    """Checks what a network gives for a crop of noise.

    Raises:
        InputError: a value is not finite.
    """
    for name, value in outputs.items():
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"the network in {source} gives NaN or infinite {name}: its weights are damaged.")
