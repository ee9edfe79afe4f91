"""Arguments against the data and the network that they are for: values that are right in themselves and do not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import first_few, shown
from kd_yolo.yolo.arguments.table import TABLE


def classes_of(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """The classes that ``classes=`` keeps; empty when it is not said."""
    value = arguments.get("classes")
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def check_fits_data(
    arguments: Mapping[str, Any],
    names: Mapping[int, str],
    splits: Collection[str],
    boxes: Mapping[str, int] | None = None,
) -> None:
    """Checks ``classes=`` and ``split=`` against a data set.

    Args:
        arguments: by key, checked by themselves.
        names: the data's class names by number.
        splits: which splits it has.
        boxes: boxes of its training split by class name, where they were counted.

    Raises:
        ConfigError: every value that does not fit.
    """
    problems = []
    kept = classes_of(arguments)
    absent = [number for number in kept if number not in names]
    if absent:
        problems.append(
            f"classes={_listed(kept)}: the data has no class {_listed(absent)}, expected 0 to {len(names) - 1}"
            f" ({first_few([shown(name, 30)[1:-1] for name in names.values()], 10)})."
        )
    elif kept and boxes is not None and not any(boxes.get(names[number]) for number in kept):
        problems.append(f"classes={_listed(kept)}: no training image has a label of these classes.")
    split = arguments.get("split")
    if split is not None and split not in splits:
        problems.append(f"split={split}: the data has {', '.join(splits)} only.")
    if problems:
        raise ConfigError("\n".join(problems))


def check_fits_model(arguments: Mapping[str, Any], model: nn.Module, task: str) -> None:
    """Checks ``freeze=`` against a network, and that arguments of one task are not given to another.

    Raises:
        ConfigError: every value that does not fit.
    """
    problems = wrong_for_task(arguments, task)
    problem = _wrong_freeze(arguments.get("freeze"), model)
    if problems or problem:
        raise ConfigError("\n".join([*problems, *([problem] if problem else [])]))


def wrong_for_task(arguments: Mapping[str, Any], task: str) -> list[str]:
    """A line for every argument that only means something to networks of another task, unless it is the default."""
    return [
        f"'{key}=' does nothing for a {task} network, it is of {', '.join(TABLE[key].tasks)}. Leave it out."
        for key, value in arguments.items()
        if key in TABLE and TABLE[key].tasks and task not in TABLE[key].tasks and value != DEFAULT_CFG_DICT.get(key)
    ]


def _wrong_freeze(freeze: Any, model: Any) -> str | None:
    if freeze is None:
        return None
    last = len(model.model) - 1
    if isinstance(freeze, int):
        return None if freeze <= last else f"freeze={freeze}: the network has {last + 1} layers, expected 0 to {last}."
    names = [name for name, _ in model.named_parameters()]
    idle = [part for part in freeze if not any(f"model.{part}." in name for name in names)]
    if idle:
        return f"freeze: there is no layer {_listed(idle)} with weights, expected numbers from 0 to {last}."
    if all(any(f"model.{part}." in name for part in freeze) for name in names if ".dfl" not in name):
        return f"freeze={_listed(freeze)} freezes the whole network, nothing is left to train."
    return None


def _listed(values: Collection[Any]) -> str:
    """The first values as they are typed."""
    return first_few([shown(item, 30).strip("'") for item in values], 10, separator=",")
