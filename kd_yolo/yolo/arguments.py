"""``key=value`` arguments for ultralytics: parsed and checked before anything is loaded or written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ultralytics.cfg import get_cfg, parse_key_value_pair
from ultralytics.utils import DEFAULT_CFG, DEFAULT_CFG_DICT

from kd_yolo.errors import ConfigError
from kd_yolo.registry import nearest

OURS = {"model": "--student", "distill_model": "--teacher", "resume": "--resume", "mode": "the command itself"}


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turns ``["epochs=10", "imgsz=320"]`` into training arguments.

    Raises:
        ConfigError: every unknown key with the nearest spelling, every value that ultralytics refuses.
    """
    overrides, problems = {}, []
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in OURS:
            problems.append(f"'{key}=' is set by {OURS[key]} here.")
        elif key not in DEFAULT_CFG_DICT:
            problems.append(f"'{key}' is not an ultralytics argument.{nearest(key, DEFAULT_CFG_DICT)}")
        elif not value:
            problems.append(f"'{key}=' has no value.")
        else:
            overrides[key] = parse_key_value_pair(pair)[1]
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        get_cfg(DEFAULT_CFG, overrides)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ConfigError(str(error)) from None
    return overrides
