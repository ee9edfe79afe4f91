"""``key=value`` arguments for ultralytics: parsed and checked before anything is loaded or written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ultralytics.cfg import get_cfg, parse_key_value_pair
from ultralytics.utils import DEFAULT_CFG, DEFAULT_CFG_DICT

from kd_yolo.errors import ConfigError
from kd_yolo.registry import nearest

DEFAULTS: Mapping[str, Any] = MappingProxyType(DEFAULT_CFG_DICT)
OURS = {"distill_model": "--teacher", "resume": "--resume", "mode": "the command itself"}


def parse_overrides(pairs: Iterable[str], *, model_flag: str = "--student") -> dict[str, Any]:
    """Turns ``["epochs=10", "imgsz=320"]`` into training arguments.

    Args:
        pairs: the words.
        model_flag: the command's flag for the model, named when somebody writes ``model=``.

    Raises:
        ConfigError: every unknown key with the nearest spelling, every value that ultralytics refuses.
    """
    overrides, problems = {}, []
    ours = {**OURS, "model": model_flag}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in ours:
            problems.append(f"'{key}=' is set by {ours[key]} here.")
        elif key not in DEFAULT_CFG_DICT:
            problems.append(f"'{key}' is not an ultralytics argument.{nearest(key, DEFAULT_CFG_DICT)}")
        elif not value:
            problems.append(f"'{key}=' has no value.")
        else:
            overrides[key] = parse_key_value_pair(pair)[1]
    if problems:
        raise ConfigError("\n".join(problems))
    return check_arguments(overrides)


def is_argument(key: str) -> bool:
    """Whether ultralytics knows an argument of that name."""
    return key in DEFAULT_CFG_DICT


def check_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Checks names and values of training arguments and returns them.

    Raises:
        ConfigError: unknown names with the nearest spelling, values that ultralytics refuses.
    """
    unknown = [key for key in arguments if key not in DEFAULT_CFG_DICT]
    if unknown:
        raise ConfigError(
            "\n".join(f"'{key}' is not an ultralytics argument.{nearest(key, DEFAULT_CFG_DICT)}" for key in unknown)
        )
    try:
        get_cfg(DEFAULT_CFG, arguments)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ConfigError(str(error)) from None
    return arguments
