"""What an unpickled network holds, looked through before any of it is called: attributes, hooks, tensors.

Pickle writes into an object's ``__dict__`` whatever a file says. An attribute of an instance comes before the method of
that name in its class, and before the child module of that name, and hooks are called with every image: a file could
have any class that it may name called in that way. Known networks hold none of this but a fused layer's ``forward``.
"""

from __future__ import annotations

import enum
import inspect
import math
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.utils import IterableSimpleNamespace

from kd_yolo.base.reading import shown
from kd_yolo.yolo.description.build_budget import MAX_MODULES, MAX_PARAMETERS

MAX_LEVELS = 40  # of modules inside each other; yolov9e has 9
_MAX_VALUES = 2_000_000
_MAX_WHOLE = 1_000_000
_MAX_RAW = 1 << 22  # elements of a parameter that no layer of torch owns
_TABLES = ("_parameters", "_buffers", "_modules")
_HOOKS = frozenset(key for key in vars(nn.Module()) if key.endswith(("_hooks", "_hooks_with_kwargs", "_always_called")))
_PLAIN = (bool, float, str, bytes, torch.Size, torch.dtype, torch.device, PurePath, enum.Enum)
_COUNTS = frozenset({"np", "num_params"})  # how many parameters a layer has: no loop runs so long


class TamperedError(ValueError):
    """A network that no program of ultralytics' writes; the text says what is wrong, to follow a file's name."""


def check_modules(model: nn.Module, *, finite: bool = True) -> None:
    """Checks every module of a network, without calling any.

    Args:
        model: straight from the unpickler.
        finite: refuse NaN and infinite numbers; a run that recovers from them opens its own checkpoint with them.

    Raises:
        TamperedError: something is shadowed, hooked, endless, or of a type that no network has.
    """
    for name, module in _modules(model):
        where = f"its layer {name}" if name else "its network"
        _check_attributes(module, where)
        _check_tensors(module, where, finite=finite)


def drop_hooks(model: nn.Module) -> None:
    """Takes all hooks out of a network from the unpickler, without calling anything of it.

    Raises:
        TamperedError: layers inside layers without end.
    """
    for _, module in _modules(model):
        vars(module).update({key: OrderedDict() for key in _HOOKS & vars(module).keys()})


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, with its first name; no recursion.

    Raises:
        TamperedError: modules inside themselves, too deep or too many, counted as often as they are reached.
    """
    paths, known = 0, set()
    waiting: list[tuple[str, nn.Module, frozenset[int]]] = [("", model, frozenset())]
    while waiting:
        name, module, above = waiting.pop()
        paths += 1
        if id(module) in above or len(above) > MAX_LEVELS or paths > MAX_MODULES:
            raise TamperedError(f"has layers inside layers without end ({shown(name)})")
        if id(module) not in known:
            known.add(id(module))
            yield name, module
        inside = vars(module).get("_modules")
        if not isinstance(inside, dict):
            raise TamperedError(f"has a layer without a table of modules ({shown(name)})")
        for key, child in inside.items():
            if not isinstance(key, str) or not isinstance(child, nn.Module | None):
                raise TamperedError(f"holds {shown(child)} where a layer should be ({shown(name)})")
            if child is not None:
                waiting.append((f"{name}.{key}".lstrip("."), child, above | {id(module)}))


def _check_attributes(module: nn.Module, where: str) -> None:
    found = vars(module)
    for table, kind in zip(_TABLES, (Tensor, Tensor, nn.Module), strict=True):
        values = found.get(table)
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise TamperedError(f"{where} has no table {table}")
        if not all(value is None or isinstance(value, kind) for value in values.values()):
            raise TamperedError(f"{where} has something else than a {kind.__name__} in {table}")
        twice = values.keys() & found.keys()
        if twice:
            raise TamperedError(f"{where} has '{shown(min(twice))}' twice, as a part and as an attribute")
    if type(found.get("training", False)) is not bool:
        raise TamperedError(f"{where} has training {shown(found['training'])}")
    for key, value in found.items():
        if key in _TABLES:
            continue
        if key in _HOOKS:
            if not isinstance(value, dict) or value:
                raise TamperedError(f"{where} has {key}, code that runs with every image")
            continue
        _check_name(module, key, value, where)
        if not _is_own_forward(module, key, value):
            check_value(value, f"{where} has {shown(key)}:", key)


def _check_name(owner: Any, key: Any, value: Any, where: str) -> None:
    """Refuses an attribute that stands before something of the class."""
    if not isinstance(key, str) or not key.isidentifier() or key.startswith("__"):
        raise TamperedError(f"{where} has an attribute {shown(key)}")
    if key == "_compiled_call_impl" and value is not None:
        raise TamperedError(f"{where} has another {key}")
    in_class = inspect.getattr_static(type(owner), key, None)
    is_method = callable(in_class) or isinstance(in_class, staticmethod | classmethod)
    is_known = _is_own_forward(owner, key, value) or (key == "type" and isinstance(value, str))  # parse_model's label
    if is_method and not is_known:
        raise TamperedError(f"{where} has an attribute {shown(key)} that stands before its method")


def _is_own_forward(owner: Any, key: str, value: Any) -> bool:
    """The two methods that networks are saved with: a fused layer's own, and ``Detect.forward`` of task heads."""
    if key == "forward" and isinstance(value, types.MethodType):
        own = (getattr(type(owner), name, None) for name in ("forward", "forward_fuse"))
        return value.__self__ is owner and value.__func__ in own
    return key == "detect" and value is Detect.forward


def check_value(value: Any, where: str, key: str = "") -> None:
    """Checks an attribute's value and all that lies in it, without recursion.

    Raises:
        TamperedError: a class, a function, or something without bounds.
    """
    waiting: list[tuple[Any, int]] = [(value, 0)]
    seen: set[int] = set()
    while waiting:
        item, level = waiting.pop()
        if item is None or isinstance(item, _PLAIN):
            continue
        if isinstance(item, int):
            if abs(item) > _MAX_WHOLE and key not in _COUNTS:
                raise TamperedError(f"{where} {shown(item)}")
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        if level > MAX_LEVELS or len(seen) > _MAX_VALUES:
            raise TamperedError(f"{where} values inside values without end")
        if isinstance(item, dict):
            waiting += [(inside, level + 1) for pair in item.items() for inside in pair]
        elif isinstance(item, list | tuple | set | frozenset):
            waiting += [(inside, level + 1) for inside in item]
        elif isinstance(item, Tensor):
            check_tensor(item, where)
        elif isinstance(item, nn.Module):
            check_modules(item)
        else:
            waiting += [(inside, level + 1) for inside in _inside_object(item, where)]


def _inside_object(item: Any, where: str) -> list[Any]:
    """The values of a loss, a transform or a namespace; of nothing else."""
    package = type(item).__module__.partition(".")[0]
    is_known = isinstance(item, IterableSimpleNamespace) or package in {"ultralytics", "torchvision", "numpy"}
    if not is_known or isinstance(item, type | types.FunctionType | types.MethodType | types.BuiltinFunctionType):
        raise TamperedError(f"{where} {shown(item)}, which is not a value of a network")
    found = vars(item) if hasattr(item, "__dict__") else {}
    for key, value in found.items():
        _check_name(item, key, value, where)
    return list(found.values())


def _check_tensors(module: nn.Module, where: str, *, finite: bool) -> None:
    total = 0
    for name, shape in _expected_shapes(module).items():
        value = vars(module)["_parameters"].get(name, vars(module)["_buffers"].get(name))
        if value is not None and tuple(value.shape) != shape:
            raise TamperedError(f"{where}.{name} has the shape {tuple(value.shape)}, expected {shape}")
    owner_is_torch = type(module).__module__.startswith("torch.nn.")
    for table in ("_parameters", "_buffers"):
        for key, value in vars(module)[table].items():
            if value is None:
                continue
            if table == "_parameters" and not isinstance(value, nn.Parameter):
                raise TamperedError(f"{where}.{key} is not a parameter")
            check_tensor(value, f"{where}.{key} is")
            if finite and value.is_floating_point() and not bool(value.isfinite().all()):
                raise TamperedError(f"{where}.{key} holds NaN or infinite numbers")
            total += value.numel()
            if total > MAX_PARAMETERS or (not owner_is_torch and value.numel() > _MAX_RAW):
                raise TamperedError(f"{where}.{key} has {value.numel()} numbers")


def _expected_shapes(module: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of the layers that nearly all numbers of a detector belong to."""
    if isinstance(module, nn.modules.conv._ConvNd):
        outer = module.in_channels if module.transposed else module.out_channels
        inner = (module.out_channels if module.transposed else module.in_channels) // module.groups
        return {"weight": (outer, inner, *module.kernel_size), "bias": (module.out_channels,)}
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (module.num_features,))
    if isinstance(module, nn.Linear):
        return {"weight": (module.out_features, module.in_features), "bias": (module.out_features,)}
    return {}


def check_tensor(value: Tensor, where: str) -> None:
    """Checks that a tensor is a plain one whose numbers are all in the file.

    Raises:
        TamperedError: it is not.
    """
    if type(value) not in (Tensor, nn.Parameter) or vars(value) or getattr(value, "_backward_hooks", None):
        raise TamperedError(f"{where} a tensor with attributes or hooks of its own")
    if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu" or value.is_complex():
        raise TamperedError(f"{where} a tensor of another kind ({value.layout}, {value.dtype}, {value.device})")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise TamperedError(f"{where} a tensor of {shown(tuple(value.shape))} over fewer numbers")
    if not math.isfinite(value.numel()) or any(size > MAX_PARAMETERS for size in value.shape):
        raise TamperedError(f"{where} a tensor of shape {tuple(value.shape)}")
