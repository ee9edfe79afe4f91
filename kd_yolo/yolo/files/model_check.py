"""Is what a checkpoint holds a network that runs? Checked once, when it is loaded; any fault is one clear error."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from ultralytics.nn.tasks import BaseModel

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_yaml_value, shown
from kd_yolo.yolo.description.build_budget import check_buildable
from kd_yolo.yolo.description.check import MAX_CLASSES, MAX_LAYERS, check_description
from kd_yolo.yolo.description.model_yaml import SHIPPED
from kd_yolo.yolo.description.trial_pass import trial_pass
from kd_yolo.yolo.families import head_named
from kd_yolo.yolo.files.module_check import TamperedError, check_modules, drop_hooks
from kd_yolo.yolo.files.unpickle import MALFORMED, OVERRIDE
from kd_yolo.yolo.quiet import quiet

TASKS = frozenset({"detect", "segment", "classify", "pose", "obb", "depth", "semantic", "rtdetr"})
_MAX_NAME = 1000
_MAX_STRIDE = 1024


def check_model(file: Path, model: nn.Module, *, finite: bool = True) -> None:
    """Checks a network straight from the unpickler, before anything of it is called.

    Args:
        file: for messages.
        model: the network.
        finite: refuse NaN and infinite weights.

    Raises:
        InputError: it was tampered with, or describes what is not built here.
    """
    vars(model).pop("criterion", None)  # of releases before 8.4.95: only training needs it, and makes its own
    try:
        check_modules(model, finite=finite)
        _check_layers(model)
        _check_facts(model)
    except TamperedError as error:
        raise InputError(f"{file} is not a YOLO model that can be used: {error}. {OVERRIDE}.") from None
    except MALFORMED as error:
        raise _broken(file, error) from error
    where = f"{file} is not a YOLO model that can be used: model.yaml in it"
    description = check_description(where, vars(model).get("yaml"), in_checkpoint=True)
    if not _is_shipped(description):
        check_buildable(where, description)


def check_wrapped(file: Path, wrapper: nn.Module) -> None:
    """Checks what ultralytics' own distillation keeps until it ends, in one module: student and teacher.

    Raises:
        InputError: see :func:`check_model`.
    """
    own, tables = vars(wrapper), vars(wrapper).get("_modules")
    names = ("student_model", "teacher_model")
    parts = [tables.get(name) for name in names] if isinstance(tables, dict) and not own.keys() & set(names) else [None]
    if not isinstance(parts[0], BaseModel):
        raise InputError(f"{file} is not a run of ultralytics' distillation: it has no student.")
    for part in parts:  # of the wrapper itself nothing is called
        if isinstance(part, BaseModel):
            _without_hooks(file, part)
            check_model(file, part, finite=False)


def _without_hooks(file: Path, part: nn.Module) -> None:
    """Drops the hooks with which upstream reads maps: they are saved with the run; a finished student has none."""
    try:
        drop_hooks(part)
    except TamperedError as error:
        raise InputError(f"{file} is not a run of ultralytics' distillation that can be used: {error}.") from None


def check_runs(file: Path, model: Any) -> None:
    """Puts one small image through a loaded network.

    Raises:
        InputError: it fails, or gives numbers that are not finite.
    """
    try:
        with quiet():
            outputs = trial_pass(model, _input_channels(model))
    except MemoryError as error:
        raise InputError(f"{file} cannot be run: it needs more memory than there is.") from error
    except MALFORMED as error:
        raise _broken(file, error) from error
    if not outputs:
        raise InputError(f"{file} cannot be run: it gives no numbers for an image.")
    if not all(bool(output.isfinite().all()) for output in outputs if output.is_floating_point()):
        raise InputError(f"{file} cannot be run: it gives NaN or infinite numbers for a grey image.")


def _broken(file: Path, error: BaseException) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return InputError(f"{file} cannot be run: {reason[:300]}.")


def _check_layers(model: Any) -> None:
    layers = vars(model)["_modules"].get("model")
    if not isinstance(layers, nn.Sequential) or not 0 < len(layers) <= MAX_LAYERS:
        raise TamperedError("model.model is not a list of layers")
    inside = vars(layers)["_modules"]
    if list(inside) != [str(i) for i in range(len(layers))] or None in inside.values():
        raise TamperedError("its layers are not numbered from 0")
    for index, layer in enumerate(layers):
        facts = vars(layer)
        sources = facts.get("f")
        given = sources if isinstance(sources, list | tuple) else [sources]
        is_source = given and all(type(i) is int and -max(index, 1) <= i < max(index, 1) for i in given)
        if not is_source or facts.get("i") != index or not isinstance(facts.get("type", ""), str):
            raise TamperedError(f"layer {index} does not say where it gets its input from ({shown(sources)})")
    saved = vars(model).get("save")
    if not isinstance(saved, list) or not all(type(i) is int and -1 <= i < len(layers) for i in saved):
        raise TamperedError(f"save is {shown(saved)}, expected numbers of layers")


def _check_facts(model: Any) -> None:
    facts, head = vars(model), model.model[-1]
    known = head_named(type(head).__name__)
    if known is None:
        raise TamperedError(f"it ends in {type(head).__name__}, which is not the head of a detector or classifier")
    names = facts.get("names")
    if isinstance(names, list):  # of 2023
        names = facts["names"] = dict(enumerate(names))
    is_named = isinstance(names, dict) and 0 < len(names) <= MAX_CLASSES and list(names) == list(range(len(names)))
    if not is_named or not all(isinstance(name, str) and len(name) <= _MAX_NAME for name in names.values()):
        raise TamperedError(f"names is {shown(names)}, expected a text for each class from 0")
    classes = vars(head).get("nc")
    if classes is not None and not (type(classes) is int and classes == len(names)):
        raise TamperedError(f"its head has {shown(classes)} classes, names has {len(names)}")
    if "nc" in facts and not (type(facts["nc"]) is int and 0 < facts["nc"] <= MAX_CLASSES):
        raise TamperedError(f"nc is {shown(facts['nc'])}")
    for owner in (facts, vars(head)):
        strides = owner.get("stride")
        if "stride" in owner and known.form not in ("decoder", "classifier"):
            _check_strides(strides)
    if facts.get("task") is not None and facts["task"] not in TASKS:
        raise TamperedError(f"task is {shown(facts['task'])}, expected {', '.join(sorted(TASKS))}")
    if "yaml" not in facts:
        raise TamperedError("it has no model.yaml to be built from")


def _check_strides(strides: Any) -> None:
    is_list = isinstance(strides, Tensor) and strides.ndim == 1 and 0 < len(strides) <= 16
    if not is_list or not all(0 < float(s) <= _MAX_STRIDE and float(s) == int(s) for s in strides):
        raise TamperedError(f"stride is {shown(strides)}, expected pixels per cell of each level")


def _input_channels(model: nn.Module) -> int:
    conv = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    if conv is None:
        raise ValueError("it has no convolution")
    return int(conv.weight.shape[1] * conv.groups)


def _is_shipped(description: dict[str, Any]) -> bool:
    """Whether the layers are those of a YAML that ultralytics ships, which need not be built to know that it works."""
    scale = str(description.get("scale") or "")
    scales = description.get("scales") or {}
    inner = json.dumps([description["backbone"], description["head"]], default=str)
    known = _shipped_layers().get(inner)
    plain = (description.get("depth_multiple", 1.0), description.get("width_multiple", 1.0))
    return known is not None and (scales.get(scale) in known if scales else max(plain) <= 1.5) and _small(description)


def _small(description: dict[str, Any]) -> bool:
    values = (description.get("nc", 1), description.get("channels", 3), description.get("reg_max", 16))
    return all(value <= limit for value, limit in zip(values, (2000, 16, 16), strict=True))


@lru_cache(maxsize=1)
def _shipped_layers() -> dict[str, list[Any]]:
    """Scales by layers, of each YAML that ultralytics ships."""
    found: dict[str, list[Any]] = {}
    for file in SHIPPED.rglob("*.yaml"):
        description = read_yaml_value(file)
        layers = json.dumps([description["backbone"], description["head"]], default=str)
        found.setdefault(layers, []).extend((description.get("scales") or {}).values())
    return found
