"""The device that a user names: one spelling, one choice and one kind of error for every command."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown

if TYPE_CHECKING:
    import torch

EXPECTED = "expected cpu, cuda, cuda:1 or 0"
_NAME = re.compile(r"cpu|mps|cuda|(?:cuda:)?(\d{1,3})", re.ASCII)
_OTHERS = re.compile(r"(npu|xpu)(:\d{1,3})?", re.ASCII)  # what ultralytics trains on beside
IDLE = "-1"  # ultralytics looks for a GPU that nobody uses


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


def parse_devices(value: Any) -> tuple[str, ...]:
    """The devices of a training as ultralytics takes them: one, or several GPUs; whether they are there is not asked.

    Args:
        value: as :func:`parse_device` takes it, ``npu:0``, ``xpu:0``, ``-1`` (an idle GPU), or several GPUs: ``0,1``,
            ``[0, 1]``, ``-1,-1``; None, or nothing, is any.

    Returns:
        Their names; none for any.

    Raises:
        ConfigError: no device is called so, or several that cannot train together.
    """
    if isinstance(value, list | tuple):
        text = ",".join(str(part) for part in value[:64])
    else:
        text = "" if value is None else str(value)
    words = [word.strip() for word in text.lower().strip(" ()[]").replace("'", "").split(",")]
    if words == [""]:
        return ()
    if len(words) == 1 and _OTHERS.fullmatch(words[0]):
        return (words[0],)
    several = len(words) > 1
    try:
        if isinstance(value, bool):
            raise ConfigError
        names = tuple(IDLE if word == IDLE else str(parse_device(word)) for word in words)
    except ConfigError:
        raise ConfigError(f"unknown device {shown(text)}: {EXPECTED}, or several such as 0,1.") from None
    numbered = [name for name in names if name != IDLE]
    if several and (len(set(numbered)) < len(numbered) or not all(name[5:].isdigit() for name in numbered)):
        raise ConfigError(f"device={shown(text)}: several devices must be different GPUs by number, such as 0,1.")
    return names


def check_devices(value: Any) -> tuple[str, ...]:
    """:func:`parse_devices`, all of which this machine has.

    Raises:
        ConfigError: see there; or a device is missing.
    """
    names = parse_devices(value)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace(" ", "").split(",")
    if names and all(name[5:] in visible and name[5:] for name in names):  # numbers of the machine, as ultralytics
        names = tuple(f"cuda:{visible.index(name[5:])}" for name in names)
    for name in names:
        if _OTHERS.fullmatch(name):
            _check_other(name)
        else:
            choose_device("cuda" if name == IDLE else name.removeprefix("cuda:"))
    return names


def _check_other(name: str) -> None:
    import torch  # importing it costs a second

    backend = getattr(torch, name[:3], None)
    if backend is None or not backend.is_available():
        raise ConfigError(f"device={name}, but torch finds none here: use device=cpu.")
