"""The allow-list: which names a checkpoint may hold, and what each of them becomes.

A name is never allowed by its prefix. It is looked up in a module that is already imported (nothing is imported because
a file names it) and must be a class of the kind expected there, defined in that package; functions, modules and
whatever else such a module happens to hold under a name are refused.
"""

from __future__ import annotations

import enum
import importlib
import pathlib
import pickle
import sys
from typing import Any

import numpy as np
import ultralytics.nn.tasks as tasks
from torch import nn
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils import loss as ultralytics_loss

from kd_yolo.base.pickle_facts import Name
from kd_yolo.base.torch_files import is_plain_call, is_plain_name
from kd_yolo.yolo.families import installed

_LAYER_PACKAGES = ("torch.nn.modules", "ultralytics.nn.modules", "ultralytics.nn.tasks")
_PLAIN_CLASS_MODULES = ("ultralytics.utils.loss", "ultralytics.utils.tal", "ultralytics.nn.distill_model")
_TRANSFORMS = ("Compose", "Normalize", "Resize", "CenterCrop", "ToTensor")  # of classification checkpoints


def is_callable_name(name: Name) -> bool:
    """Whether a checkpoint may call the name with its own arguments: rebuilding of values only, never a layer."""
    return is_plain_call(name) or _data_entry(name) is not None


def resolve(name: Name) -> Any | None:
    """What the name stands for in a checkpoint, or None when it is not a part of a YOLO model."""
    entry = _data_entry(name)
    if entry is None:
        entry = _alias(name)
    if entry is None:
        entry = _layer_class(name)
    if entry is None:
        entry = _plain_class(name)
    return _installed_class(name) if entry is None else entry


def entries_for(names: list[Name]) -> list[Any]:
    """The ``(object, name)`` pairs that ``torch.serialization.safe_globals`` takes, for names that were accepted."""
    entries: list[Any] = [(resolve(name), str(name)) for name in names if not is_plain_name(name)]
    if any(str(name) == "numpy.dtype" for name in names):  # numpy makes one class a dtype, which pickles do not name
        entries += sorted({type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}, key=str)
    return entries


def _data_entry(name: Name) -> Any | None:
    """Values beside the layers: arguments, numpy scalars, paths, enum members and bound forward methods."""
    scalar = np.float64(0).__reduce__()[0]
    table: dict[str, Any] = {
        "ultralytics.utils.IterableSimpleNamespace": IterableSimpleNamespace,
        "ultralytics.yolo.utils.IterableSimpleNamespace": IterableSimpleNamespace,  # before ultralytics 8.0.44
        "numpy.core.multiarray.scalar": scalar,
        "numpy._core.multiarray.scalar": scalar,
        "numpy.dtype": _plain_dtype,
        "builtins.getattr": _plain_getattr,
    }
    for module in ("pathlib", "pathlib._local"):
        table |= {f"{module}.{kind}Path": type(pathlib.Path()) for kind in ("Posix", "Windows")}
    return table.get(str(name)) or _interpolation(name)


def _interpolation(name: Name) -> Any | None:
    if str(name) != "torchvision.transforms.functional.InterpolationMode":
        return None
    return importlib.import_module(name.module).InterpolationMode


def _alias(name: Name) -> Any | None:
    """Classes that newer ultralytics releases renamed."""
    table: dict[str, Any] = {
        "ultralytics.nn.modules.block.Silence": nn.Identity,  # yolov9e
        "ultralytics.nn.tasks.YOLOv10DetectionModel": tasks.DetectionModel,
        "ultralytics.utils.loss.v10DetectLoss": ultralytics_loss.E2EDetectLoss,
    }
    return table.get(str(name))


def _layer_class(name: Name) -> type | None:
    """A layer of torch or ultralytics: an ``nn.Module`` class defined in the package that the name points to."""
    if not any(name.module == package or name.module.startswith(f"{package}.") for package in _LAYER_PACKAGES):
        return None
    found = vars(sys.modules[name.module]).get(name.attr) if name.module in sys.modules else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        return None
    root = name.module.partition(".nn.")[0]  # torch or ultralytics: one module of a package may re-export another's
    return found if found.__module__.startswith(f"{root}.nn.") else None


def _plain_class(name: Name) -> type | None:
    """Loss, assigner and transform classes that older checkpoints hold; instances are made without calling them."""
    if name.module in _PLAIN_CLASS_MODULES:
        found = vars(importlib.import_module(name.module)).get(name.attr)
        return found if isinstance(found, type) and found.__module__ == name.module else None
    if name.module == "torchvision.transforms.transforms" and name.attr in _TRANSFORMS:
        transform: type = vars(importlib.import_module(name.module))[name.attr]
        return transform
    return None


def _installed_class(name: Name) -> type | None:
    """A layer that a family of an installed package lists: code of the user's own environment, never of the file's."""
    classes = (cls for family in installed() for cls in family.classes)
    return next((cls for cls in classes if (cls.__module__, cls.__qualname__) == (name.module, name.attr)), None)


def _plain_dtype(*args: Any) -> np.dtype[Any]:
    """``numpy.dtype`` for numbers only: an object or structured dtype could be told to read foreign memory."""
    dtype: np.dtype[Any] = np.dtype(*args)
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError(f"numpy dtype {dtype} in a checkpoint: only numbers are loaded")
    return dtype


def _plain_getattr(owner: Any, attr: str) -> Any:
    """``getattr`` for what checkpoints use it for: ``Detect.forward`` and members of an enum."""
    is_layer = isinstance(owner, type) and issubclass(owner, nn.Module)
    if is_layer and attr in {"forward", "forward_fuse"}:
        return getattr(owner, attr)
    if isinstance(owner, type) and issubclass(owner, enum.Enum) and attr in owner.__members__:
        return owner[attr]
    if isinstance(owner, nn.Module) and attr in {"forward", "forward_fuse"}:
        return getattr(type(owner), attr).__get__(owner)
    raise pickle.UnpicklingError(f"getattr(..., {attr!r}) in a checkpoint: only forward methods are looked up")
