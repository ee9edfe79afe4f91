"""What a checkpoint says of its quantisers (``quantize=8``): plain values, checked before modelopt acts on them.

Ultralytics keeps them under ``modelopt``: which layers are quantised and how (``modelopt``), and their ``ranges``.
Modelopt makes tensors of the shapes that it is told, and looks up what it is told to run by name: here a checkpoint
may say what ultralytics' ``quantize=8`` writes, nothing else.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils.torch_utils import is_qat

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.base.reading import shown
from kd_yolo.yolo.files.module_check import TamperedError
from kd_yolo.yolo.files.unpickle import OVERRIDE

MODES = ("quantize", "max_calibrate")
_NAME = re.compile(r"(?P<module>[\w.]+)\.(input|output|weight)_quantizer")
_WORDS = {"max", "static", "Float"}  # of settings; every other text is a pattern of names, a class or a version
_VERSION = re.compile(r"[\w.+]{1,40}")
_PATTERN = re.compile(r"[\w*.]{1,100}")
_NUMBERS = {"num_bits": {8}, "_num_bits": {8}, "axis": {0}, "_axis": {0}, "save_every": {1}}
_SHAPES = "_pytorch_state_metadata"
_MAX_VALUES, _MAX_DEPTH = 500_000, 8


def import_modelopt(purpose: str) -> None:
    """Imports what puts quantisers in, without its warnings about language models and GPUs.

    The import draws random numbers: whoever seeds does so afterwards.

    Args:
        purpose: what needs it, for the message.

    Raises:
        MissingDependencyError: it is not installed; says the install line.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        require("modelopt.torch.quantization", purpose=purpose)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"modelopt\.")


def check_quantized(file: Path, model: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Checks what a checkpoint says of its quantisers; one without any is left alone.

    Args:
        file: for messages.
        model: the plain network that they are put into, checked already.
        checkpoint: the file's dict.

    Raises:
        InputError: it is not what ``quantize=8`` writes, or not of this network.
    """
    if not checkpoint.get("modelopt"):
        return
    try:
        state = _part(checkpoint, "modelopt")
        ranges, found = _part(state, "ranges"), _part(state, "modelopt")
        modes, version = _part(found, "modelopt_state_dict", list), _part(found, "modelopt_version", str)
        if _VERSION.fullmatch(version) is None:
            raise TamperedError(f"modelopt_version is {shown(version)}")
        if [mode[0] for mode in modes if isinstance(mode, list | tuple) and mode] != [*MODES[: len(modes)]]:
            raise TamperedError(f"its modes are {shown(modes)}, expected {', '.join(MODES)}")
        channels = {name: _width(module) for name, module in model.named_modules()}
        for _, mode in modes:
            _check_plain([_part(mode, "config")])
            quantizers = _part(_part(mode, "metadata"), "quantizer_state")
            for name, values in quantizers.items():
                _check_quantizer(name, values, channels)
        for name, value in ranges.items():
            _check_range(name, value, channels)
    except (TamperedError, TypeError, ValueError) as error:
        raise InputError(f"{file} holds quantisers that quantize=8 does not write: {error}. {OVERRIDE}.") from None


def _part(values: Any, key: str, kind: type = dict) -> Any:
    part = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(part, kind):
        raise TamperedError(f"{key} is {shown(part)}")
    return part


def _width(module: nn.Module) -> int:
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, Tensor) and weight.ndim else 1


def _module_of(name: Any, channels: Mapping[str, int]) -> str:
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None or found["module"] not in channels:
        raise TamperedError(f"{shown(name)} is no quantiser of a layer of this network")
    return found["module"]


def _check_quantizer(name: Any, values: Any, channels: Mapping[str, int]) -> None:
    module = _module_of(name, channels)
    shapes = _part(values, _SHAPES)
    _check_plain({key: value for key, value in values.items() if key != _SHAPES})
    if shapes.keys() != {"params", "buffers"} or shapes["params"] != {} or not isinstance(shapes["buffers"], dict):
        raise TamperedError(f"{name} has parameters of its own")
    for key, facts in shapes["buffers"].items():
        if key != "_amax" or not isinstance(facts, dict) or facts.keys() != {"shape", "dtype"}:
            raise TamperedError(f"{name} has {shown(key)}")
        if not isinstance(facts["dtype"], torch.dtype) or not facts["dtype"].is_floating_point:
            raise TamperedError(f"{name} has ranges of {shown(facts['dtype'])}")
        _check_shape(name, facts["shape"], channels[module])


def _check_range(name: Any, value: Any, channels: Mapping[str, int]) -> None:
    if not isinstance(name, str) or not name.endswith("._amax"):
        raise TamperedError(f"{shown(name)} is no range of a quantiser")
    module = _module_of(name.removesuffix("._amax"), channels)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TamperedError(f"{name} is {shown(value)}")
    _check_shape(name, value.shape, channels[module])
    if not bool(value.isfinite().all()) or bool((value < 0).any()):
        raise TamperedError(f"{name} has ranges below 0 or not finite")


def _check_shape(name: str, shape: Any, channels: int) -> None:
    """One range for a whole map, or one for each channel of the weight."""
    is_shape = isinstance(shape, torch.Size | tuple) and all(type(side) is int for side in shape) and len(shape) <= 5
    if not is_shape or math.prod(shape) not in (1, channels) or any(side not in (1, channels) for side in shape):
        raise TamperedError(f"{name} has ranges of shape {shown(shape)}, its layer {channels} channels")


def _check_plain(values: Any) -> None:
    """Settings of a quantiser: what is off, the words that ``quantize=8`` writes, and patterns of layer names."""
    stack: list[tuple[Any, Any, int]] = [("", values, 0)]
    count = 0
    while stack:
        key, value, depth = stack.pop()
        count += 1
        if count > _MAX_VALUES or depth > _MAX_DEPTH:
            raise TamperedError("its settings are too many or too deep")
        if isinstance(value, dict):
            stack += [(k, v, depth + 1) for k, v in value.items()]
        elif isinstance(value, list | tuple):
            stack += [(key, v, depth + 1) for v in value]
        elif not _is_known(key, value):
            raise TamperedError(f"{shown(key)} is {shown(value)}")


def _is_known(key: Any, value: Any) -> bool:
    if value is None or isinstance(value, bool | torch.dtype):
        return True
    if isinstance(value, str):
        is_name = key in ("quantizer_name", "parent_class") and _PATTERN.fullmatch(value) is not None
        return value in _WORDS or is_name
    return type(value) is int and value in _NUMBERS.get(key, ())


def is_quantized(model: nn.Module) -> bool:
    """Whether a network was trained for INT8 and holds quantisers."""
    return bool(is_qat(model))


def refuse_quantized(model: nn.Module, file: str, role: str) -> None:
    """Refuses a network that was trained with ``quantize=8``.

    Args:
        model: as it was loaded.
        file: its file, for the message.
        role: what it was to be, for example "as a teacher".

    Raises:
        InputError: it holds quantisers.
    """
    if is_quantized(model):
        raise InputError(
            f"{file} was trained for INT8 (quantize=8) and holds rounded weights: {role}, give the network that it was"
            " trained from."
        )
