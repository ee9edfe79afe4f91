"""The training arguments inside a checkpoint: a stranger's text until they are shown to be plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ultralytics import cfg
from ultralytics.utils import DEFAULT_CFG_DICT

OURS = "kd"  # settings of our own trainers, which they check themselves
PLACES = ("data", "model", "project", "name", "save_dir", "resume", "pretrained", "distill_model", "source", "tracker")
_MAX_TEXT = 4096
_MAX_ITEMS = 10_000
_MAX_LEVELS = 12
_MAX_NUMBER = 1e12


def safe_train_args(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The ``train_args`` of a checkpoint, without what they should not hold.

    Only keys that ultralytics knows stay (and ``kd``, the settings of our trainers), each with a plain value of its
    type; everything else is dropped without a word, as ultralytics' defaults stand in for it. What is left says what
    the file claims: no path in it (``PLACES``) may be opened, written or run as if the user had typed it.

    Args:
        checkpoint: the dict that a ``.pt`` holds.

    Returns:
        A new dict.
    """
    given = checkpoint.get("train_args")
    if given is not None and not isinstance(given, Mapping):
        given = getattr(given, "__dict__", None)  # releases of 2023 left a namespace
    if not isinstance(given, Mapping):
        return {}
    kept: dict[str, Any] = {}
    for key in (*DEFAULT_CFG_DICT, OURS):
        if key not in given:
            continue
        value = given[key]
        value = str(value) if isinstance(value, PurePath) else value
        if _fits(key, value):
            kept[key] = value
    return kept


def _fits(key: str, value: Any) -> bool:
    """Whether a value has the type that ultralytics' own check of its arguments asks for."""
    if value is None:
        return key != OURS
    if key == OURS:
        return isinstance(value, dict) and _is_plain(value)
    if key in cfg.CFG_BOOL_KEYS:
        return isinstance(value, bool)
    if key in cfg.CFG_INT_KEYS:
        return _is_number(value) and isinstance(value, int)
    if key in cfg.CFG_FLOAT_KEYS:
        return _is_number(value)
    if key in cfg.CFG_FRACTION_KEYS:
        return _is_number(value) or (key == "fraction" and isinstance(value, list) and _is_plain(value))
    if key in cfg.CFG_STR_KEYS or key in {"task", "mode"}:
        return isinstance(value, str) and len(value) <= _MAX_TEXT
    if key in PLACES:
        return isinstance(value, str | bool) and _is_plain(value)
    if key == "imgsz":
        sizes = value if isinstance(value, list | tuple) else [value]
        return 0 < len(sizes) <= 2 and all(_is_number(size) and isinstance(size, int) for size in sizes)
    return not isinstance(value, dict) and _is_plain(value)


def _is_number(value: Any) -> bool:
    is_number = type(value) in (bool, int, float)  # ultralytics takes False for 0.0 too
    return is_number and math.isfinite(value) and abs(value) <= _MAX_NUMBER


def _is_plain(value: Any, level: int = 0) -> bool:
    """Whether a value is a bool, a number, a text, or lists and dicts of those, within bounds."""
    if value is None or isinstance(value, bool):
        return True
    if type(value) is int:
        return value.bit_length() <= 128  # seeds of a random state among them
    if type(value) is float:
        return True
    if type(value) is str:
        return len(value) <= _MAX_TEXT
    if level >= _MAX_LEVELS or type(value) not in (list, tuple, dict) or len(value) > _MAX_ITEMS:
        return False
    if isinstance(value, dict):
        return all(type(key) in (str, int) and _is_plain(inside, level + 1) for key, inside in value.items())
    return all(_is_plain(inside, level + 1) for inside in value)
