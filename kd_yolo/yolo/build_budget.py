"""Builds a described network without memory, to learn what it would cost and whether its layers fit together.

On torch's ``meta`` device tensors have a shape and no numbers: a layer of 65,536 x 65,536 channels costs nothing there,
and the same arithmetic that would fail in the middle of a run fails here.
"""

from __future__ import annotations

import copy
import json
import threading
from functools import lru_cache
from typing import Any

import torch
import ultralytics.nn.tasks as tasks
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from ultralytics.nn.modules.head import RTDETRDecoder

from kd_yolo.base.reading import shown
from kd_yolo.errors import InputError
from kd_yolo.yolo.layer_names import TEXT_LAYERS
from kd_yolo.yolo.quiet import quiet
from kd_yolo.yolo.unpickle import MALFORMED

MAX_PARAMETERS = 1_000_000_000  # 4 GB; yolov6x has 173 million
MAX_MODULES = 20_000  # yolov9e has 1,260
MAX_ELEMENTS = 1 << 26  # of one map for an image of 256 px: 256 MB; yolov9e has 6 million
MAX_OPERATIONS = 50_000  # yolov9e does 1,778
_IMAGE_PX = 256  # ultralytics runs such an image through a network when it builds it
_LOCK = threading.Lock()  # torch keeps one list of registration hooks for the process


class OverBudgetError(RuntimeError):
    """What is built or run is larger than any YOLO model."""


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
        with _LOCK, quiet(), torch.device("meta"):
            layers = _build(plain)
            if not any(row[2] in TEXT_LAYERS for row in [*plain["backbone"], *plain["head"]]):  # they take a text too
                _run(layers, int(plain.get("channels") or plain.get("ch") or 3))
    except MemoryError:
        return "it needs more memory than there is"
    except MALFORMED as error:
        return shown(f"{type(error).__name__}: {error}", 300).strip("'\"")
    return ""


def _build(description: dict[str, Any]) -> nn.Sequential:
    channels = int(description.get("channels") or description.get("ch") or 3)
    left = {"modules": MAX_MODULES, "parameters": MAX_PARAMETERS}

    def count_module(*_: Any) -> None:
        left["modules"] -= 1
        if left["modules"] < 0:
            raise OverBudgetError(f"it has more than {MAX_MODULES} layers inside its layers")

    def count_parameter(_: nn.Module, __: str, value: Tensor | None) -> None:
        left["parameters"] -= 0 if value is None else value.numel()
        if left["parameters"] < 0:
            raise OverBudgetError(f"it has more than {MAX_PARAMETERS} parameters")

    handles = [
        hooks.register_module_module_registration_hook(count_module),
        hooks.register_module_parameter_registration_hook(count_parameter),
        hooks.register_module_buffer_registration_hook(count_parameter),
    ]
    try:
        layers: nn.Sequential = tasks.parse_model(copy.deepcopy(description), ch=channels, verbose=False)[0]
        return layers
    finally:
        for handle in handles:
            handle.remove()


class _Budget(TorchDispatchMode):
    """Ends a pass that makes a map larger than any network does, or does more operations."""

    def __init__(self) -> None:
        super().__init__()
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


def _run(layers: nn.Sequential, channels: int) -> None:
    """What ``BaseModel._predict_once`` does; heads give their raw outputs."""
    layers.eval()
    layers[-1].training = not isinstance(layers[-1], RTDETRDecoder)
    outputs: list[Any] = []
    x: Any = torch.empty(1, channels, _IMAGE_PX, _IMAGE_PX, device="meta")
    with _Budget(), torch.no_grad():
        for layer in layers:
            source: Any = layer.f
            if source != -1:
                x = outputs[source] if isinstance(source, int) else [x if i == -1 else outputs[i] for i in source]
            x = layer(x)
            outputs.append(x)
