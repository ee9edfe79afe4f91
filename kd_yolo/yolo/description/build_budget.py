"""Builds a described network on trial, to learn whether its layers fit together and what it would cost.

A small one is built as it is. A large one is built on torch's ``meta`` device, where tensors have a shape and no
numbers: a layer of 65,536 x 65,536 channels costs nothing there (but torch loads much of itself for it, 1.5 seconds).
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
import ultralytics.nn.tasks as tasks
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from ultralytics.nn.modules import Conv

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown
from kd_yolo.yolo.description.layer_names import TEXT_LAYERS
from kd_yolo.yolo.description.trial_pass import IMAGE_PX, OverBudgetError, watched
from kd_yolo.yolo.families import is_form
from kd_yolo.yolo.files.unpickle import MALFORMED
from kd_yolo.yolo.quiet import quiet

MAX_PARAMETERS = 1_000_000_000  # 4 GB; yolov6x has 173 million
_SMALL = 5_000_000  # 20 MB, 0.1 seconds
MAX_MODULES = 20_000  # yolov9e has 1,260
MAX_ELEMENTS = 1 << 26  # of one map for an image of 256 px: 256 MB; yolov9e has 6 million
MAX_OPERATIONS = 50_000  # yolov9e does 1,778
_IMAGE_PX = 256  # ultralytics runs such an image through a network when it builds it
_LOCK = threading.RLock()  # torch keeps one list of registration hooks for the process


def check_buildable(where: str, description: dict[str, Any]) -> None:
    """Builds a checked description and runs an image through it, both without memory.

    Raises:
        InputError: the layers do not fit together, or the network is too large.
    """
    plain = {k: v for k, v in description.items() if k not in ("yaml_file", "names")}
    reason = _fault(json.dumps(plain, default=str))
    if reason:
        raise InputError(f"{where} describes a network that cannot be built: {reason}.")


@lru_cache(maxsize=64)
def _fault(description: str) -> str:
    """Why the description cannot be built; empty when it can. Depends on the text only."""
    plain = json.loads(description)
    try:
        with _LOCK, quiet(), torch.random.fork_rng(devices=[]), _activation_kept():
            try:
                _try_small(plain)
            except OverBudgetError:
                _try_without_memory(plain)
    except MemoryError:
        return "it needs more memory than there is"
    except MALFORMED as error:
        return shown(f"{type(error).__name__}: {error}", 300).strip("'\"")
    return ""


def _try_small(description: dict[str, Any]) -> None:
    layers = _build(description, _SMALL)
    if not _takes_text(description):
        with watched(layers), torch.no_grad():
            _run(layers, torch.zeros(1, _channels(description), IMAGE_PX, IMAGE_PX))


def _try_without_memory(description: dict[str, Any]) -> None:
    with torch.device("meta"):
        layers = _build(description, MAX_PARAMETERS)
        if not _takes_text(description):
            with _Budget(), torch.no_grad():
                _run(layers, torch.empty(1, _channels(description), _IMAGE_PX, _IMAGE_PX))


def _takes_text(description: dict[str, Any]) -> bool:
    """Whether layers take the features of a text beside the image."""
    return any(row[2] in TEXT_LAYERS for row in [*description["backbone"], *description["head"]])


def _channels(description: dict[str, Any]) -> int:
    return int(description.get("channels") or description.get("ch") or 3)


@contextmanager
def _activation_kept() -> Iterator[None]:
    """``parse_model`` sets the process's default activation, and leaves it when it fails."""
    before = Conv.default_act
    try:
        yield
    finally:
        Conv.default_act = before


def _build(description: dict[str, Any], max_parameters: int) -> nn.Sequential:
    left = {"modules": MAX_MODULES, "parameters": max_parameters}

    def count_module(*_: Any) -> None:
        left["modules"] -= 1
        if left["modules"] < 0:
            raise OverBudgetError(f"it has more than {MAX_MODULES} layers inside its layers")

    def count_parameter(_: nn.Module, __: str, value: Tensor | None) -> None:
        left["parameters"] -= 0 if value is None else value.numel()
        if left["parameters"] < 0:
            raise OverBudgetError(f"it has more than {max_parameters} parameters")

    handles = [
        hooks.register_module_module_registration_hook(count_module),
        hooks.register_module_parameter_registration_hook(count_parameter),
        hooks.register_module_buffer_registration_hook(count_parameter),
    ]
    try:
        layers: nn.Sequential = tasks.parse_model(copy.deepcopy(description), ch=_channels(description), verbose=False)[
            0
        ]
        return layers
    finally:
        for handle in handles:
            handle.remove()


class _Budget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Ends a pass that makes a map larger than any network does, or does more operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.operations += 1
        for value in made if isinstance(made, list | tuple) else [made]:
            if isinstance(value, Tensor) and value.numel() > MAX_ELEMENTS:
                raise OverBudgetError(f"an image of {_IMAGE_PX} px becomes {value.numel()} numbers in one layer")
        if self.operations > MAX_OPERATIONS:
            raise OverBudgetError(f"an image takes more than {MAX_OPERATIONS} operations")
        return made


def _run(layers: nn.Sequential, image: Tensor) -> None:
    """What ``BaseModel._predict_once`` does; heads give their raw outputs."""
    layers.eval()
    layers[-1].training = not is_form(layers[-1], "decoder")
    outputs: list[Any] = []
    x: Any = image
    for layer in layers:
        source: Any = layer.f
        if source != -1:
            x = outputs[source] if isinstance(source, int) else [x if i == -1 else outputs[i] for i in source]
        x = layer(x)
        outputs.append(x)
