"""The device that a user names: one spelling, one choice and one kind of error for every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kd_yolo.base.reading import shown
from kd_yolo.errors import ConfigError

if TYPE_CHECKING:
    import torch

EXPECTED = "expected cpu, cuda, cuda:1 or 0"
_NAME = re.compile(r"cpu|mps|cuda|(?:cuda:)?(\d{1,3})", re.ASCII)


def parse_device(text: str | int | None) -> str | None:
    """The name of a device as torch spells it; whether it is there is not asked, and torch is not imported.

    Args:
        text: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or the number of a GPU; None, or nothing, is any.

    Returns:
        The name, ``cuda:0`` for 0; None for any.

    Raises:
        ConfigError: no device is called so.
    """
    name = "" if text is None else str(text).strip().lower()
    if not name:
        return None
    matched = _NAME.fullmatch(name)
    if matched is None or isinstance(text, bool):
        several = " One device: this does not run on several." if "," in name else ""
        raise ConfigError(f"unknown device {shown(text)}: {EXPECTED}.{several}")
    return name if matched[1] is None else f"cuda:{int(matched[1])}"


def choose_device(text: str | int | None) -> torch.device:
    """The device by its name, else a GPU where there is one.

    Raises:
        ConfigError: no device is called so, or this machine does not have it.
    """
    import torch  # importing it costs a second

    name = parse_device(text)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(name or ("cuda" if count else "cpu"))
    if device.type == "cuda" and (device.index or 0) >= count:
        has = f"has {count} GPU{'s' * (count != 1)}" if count else "finds no GPU here"
        raise ConfigError(f"device={text}, but torch {has}: use device=cpu{', or a lower number' if count else ''}.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device={text}, but torch finds none here: use device=cpu.")
    return device
