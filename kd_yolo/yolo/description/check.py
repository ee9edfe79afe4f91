"""Checks a model description, the dict in a model YAML or under ``yaml`` in a checkpoint, before anything is built.

Ultralytics' ``parse_model`` evaluates its texts, looks layer names up in all that its module imports, and builds
whatever numbers ask for. So every value has a type and bounds here, and every name is in a list.
"""

from __future__ import annotations

import math
import re
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.yolo.description.layer_names import (
    ACTIVATIONS,
    FETCHING,
    LAYERS,
    OLD_NAMES,
    TEXT_ARGUMENTS,
    TEXT_LAYERS,
    installed_layers,
)
from kd_yolo.yolo.families import head_named

MAX_LAYERS = 500  # yolov9e has 43
MAX_REPEATS = 1000
MAX_CLASSES = 100_000
MAX_ARGUMENT = 65_536  # channels, sizes
MAX_SCALING = 8  # of nn.Upsample
_MAX_ITEMS = 64
_MAX_TEXT = 64
_CALL = re.compile(r"(?:torch\.)?nn\.([A-Z]\w{0,40})\((.*)\)", re.DOTALL)
_KEYWORD = re.compile(r"(?:([a-z_]{1,20})\s*=\s*)?(-?\d{1,6}(?:\.\d{1,6})?|True|False|None)")
_NUMBER = re.compile(r"-?\d{1,5}(?:\.\d{1,6})?")


def check_description(where: str, description: Any, *, in_checkpoint: bool = False) -> dict[str, Any]:
    """Checks types, bounds and names of a whole description.

    Args:
        where: the file, for messages.
        description: whatever was found there.
        in_checkpoint: layers of YOLO-World and YOLOE, whose text features the checkpoint holds, are known too.

    Returns:
        The description.

    Raises:
        InputError: it is no description of a network, or not one that is built here.
    """
    check = _Check(where, LAYERS | (TEXT_LAYERS | OLD_NAMES if in_checkpoint else frozenset()))
    if not isinstance(description, dict):
        raise check.error(f"holds {shown(description)} where a model description with backbone and head should be")
    check.top(description)
    check.scales(description)
    rows = [row for part in ("backbone", "head") for row in check.rows(description, part)]
    if len(rows) > MAX_LAYERS:
        raise check.error(f"has {len(rows)} layers, expected at most {MAX_LAYERS}")
    for index, row in enumerate(rows):
        check.row(index, row, description)
    return description


def _is_int(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_float(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and least <= value <= most


class _Check:
    """The checks of one description."""

    def __init__(self, where: str, layers: frozenset[str]) -> None:
        self.where = where
        self.layers = layers

    def error(self, what: str, hint: str = "") -> InputError:
        return InputError(f"{self.where} {what}.{hint}")

    def top(self, description: dict[str, Any]) -> None:
        """The values beside the layers."""
        for key, least, most in (("nc", 1, MAX_CLASSES), ("reg_max", 1, 256), ("channels", 1, 4096), ("ch", 1, 4096)):
            if key in description and not _is_int(description[key], least, most):
                raise self.error(f"has {key} {shown(description[key])}, expected a number from {least} to {most}")
        if "nc" not in description:
            raise self.error("has no nc, the number of classes")
        for key in ("depth_multiple", "width_multiple"):
            if key in description and not _is_float(description[key], 0.01, 10):
                raise self.error(f"has {key} {shown(description[key])}, expected a number from 0.01 to 10")
        for key in ("end2end", "inplace"):
            if type(description.get(key)) not in (bool, type(None)):
                raise self.error(f"has {key} {shown(description[key])}, expected true or false")
        keypoints = description.get("kpt_shape", [17, 3])
        is_pair = isinstance(keypoints, list | tuple) and len(keypoints) == 2
        if not (is_pair and _is_int(keypoints[0], 1, 1000) and _is_int(keypoints[1], 2, 3)):
            raise self.error(f"has kpt_shape {shown(keypoints)}, expected [keypoints, 2 or 3], for example [17, 3]")
        self.activation(description.get("activation"))

    def activation(self, value: Any) -> None:
        if value is None:
            return
        match = _CALL.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 200 else None
        arguments = [part.strip() for part in match[2].split(",")] if match and match[2].strip() else []
        if match is None or match[1] not in ACTIVATIONS or not all(_KEYWORD.fullmatch(part) for part in arguments):
            raise self.error(
                f"asks for the activation {shown(value)}, which is not a torch.nn activation with plain numbers, for"
                " example nn.SiLU() or nn.LeakyReLU(0.1)"
            )

    def scales(self, description: dict[str, Any]) -> None:
        scales, scale = description.get("scales"), description.get("scale")
        if scale is not None and not (isinstance(scale, str) and len(scale) <= _MAX_TEXT):
            raise self.error(f"has scale {shown(scale)}, expected one letter")
        if not scales:
            if scales not in (None, {}):
                raise self.error(f"has scales {shown(scales)}, expected letters with [depth, width, max_channels]")
            return
        if not isinstance(scales, dict) or len(scales) > _MAX_ITEMS:
            raise self.error(f"has scales {shown(scales)}, expected letters with [depth, width, max_channels]")
        for name, values in scales.items():
            is_fine = isinstance(name, str) and isinstance(values, list | tuple) and len(values) == 3
            is_fine = is_fine and all(_is_float(value, 0.01, 10) for value in values[:2])
            if not (is_fine and _is_float(values[2], 1, MAX_ARGUMENT)):
                raise self.error(f"has the scale {shown(name)}: {shown(values)}, expected [depth, width, max_channels]")
        if scale and scale not in scales:
            raise self.error(f"has no scale {scale!r}: it has {', '.join(map(str, list(scales)[:8]))}")

    def rows(self, description: dict[str, Any], part: str) -> list[Any]:
        rows = description.get(part)
        if not isinstance(rows, list | tuple) or not rows:
            found = shown(rows) if part in description else "nothing"
            raise self.error(f"has {found} under {part}, expected a list of layers [from, repeats, name, arguments]")
        return list(rows[: MAX_LAYERS + 1])

    def row(self, index: int, row: Any, description: dict[str, Any]) -> None:
        if not (isinstance(row, list | tuple) and len(row) == 4):
            raise self.error(f"describes layer {index} as {shown(row)}, expected [from, repeats, name, arguments]")
        sources, repeats, name, arguments = row
        self.name(index, name)
        if not _is_int(repeats, 0, MAX_REPEATS):
            raise self.error(f"repeats layer {index} ({name}) {shown(repeats)} times, expected 0 to {MAX_REPEATS}")
        given = sources if isinstance(sources, list | tuple) else [sources]
        is_known = 0 < len(given) <= _MAX_ITEMS and all(_is_int(i, -max(index, 1), max(index - 1, -1)) for i in given)
        head = head_named(name)
        takes_many = name in {"Concat", "CBFuse"} or (head is not None and head.form != "classifier")
        if not is_known or (takes_many and not isinstance(sources, list | tuple)):
            raise self.error(f"feeds layer {index} ({name}) from {shown(sources)}, expected earlier layers or -1")
        if not isinstance(arguments, list | tuple) or len(arguments) > _MAX_ITEMS:
            raise self.error(f"gives layer {index} ({name}) {shown(arguments)}, expected a list of arguments")
        for value in arguments:
            if not self.is_argument(value) or (value == "kpt_shape" and "kpt_shape" not in description):
                raise self.error(f"gives layer {index} ({name}) the argument {shown(value)}, expected plain numbers")
        if name == "nn.Upsample" and any(_is_float(v, MAX_SCALING + 1e-9, MAX_ARGUMENT) for v in arguments[1:2]):
            raise self.error(f"scales by {shown(arguments[1])} in layer {index} ({name}), at most {MAX_SCALING}")

    def name(self, index: int, name: Any) -> None:
        if isinstance(name, str) and name in self.layers:
            return
        if isinstance(name, str) and name in FETCHING:
            raise self.error(f"names the block '{name}' in layer {index}, which fetches weights or runs other programs")
        if isinstance(name, str) and name in TEXT_LAYERS:
            raise self.error(f"names the block '{name}' in layer {index}: YOLO-World and YOLOE are not built here")
        if isinstance(name, str) and name in installed_layers():
            return
        hint = nearest(name, sorted(self.layers)) if isinstance(name, str) and len(name) <= _MAX_TEXT else ""
        raise self.error(f"names the block {shown(name)} in layer {index}, which is not a layer that is known", hint)

    def is_argument(self, value: Any, level: int = 0) -> bool:
        if value is None or isinstance(value, bool):
            return True
        if isinstance(value, str):
            return value in TEXT_ARGUMENTS or (len(value) <= _MAX_TEXT and _NUMBER.fullmatch(value) is not None)
        if isinstance(value, list | tuple):
            return level == 0 and len(value) <= _MAX_ITEMS and all(self.is_argument(v, 1) for v in value)
        return _is_float(value, -MAX_ARGUMENT, MAX_ARGUMENT)
