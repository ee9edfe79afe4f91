"""``key=value`` arguments for ultralytics: parsed and checked before anything is loaded or written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ultralytics.cfg import get_cfg, parse_key_value_pair
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.base.device import check_devices, parse_devices
from kd_yolo.base.errors import ConfigError
from kd_yolo.base.extras import check_installed
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.yolo.arguments.table import REMOVED, RENAMED, TABLE, TRAININGS, Command

DEFAULTS: Mapping[str, Any] = MappingProxyType(DEFAULT_CFG_DICT)
INT8 = "training for INT8 (quantize=8)"
# What ultralytics itself puts among the arguments of a trainer, and what only Python can give it.
FROM_UPSTREAM = frozenset(
    ("task", "mode", "model", "resume", "cfg", "save_dir", "augmentations", "session", "distill_model")
)


def parse_overrides(
    pairs: Iterable[str], *, command: Command = "distill", model_flag: str = "--student"
) -> dict[str, Any]:
    """Turns ``["epochs=10", "imgsz=320"]`` into arguments, names and values checked.

    Args:
        pairs: the words; of one key the last counts.
        command: who takes them.
        model_flag: the command's flag for the model, named when somebody writes ``model=``.

    Raises:
        ConfigError: every unknown key with the nearest spelling, every key that the command has no use for, every
            value out of range.
    """
    overrides: dict[str, Any] = {}
    problems = []
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not value.strip():
            problems.append(_unknown(key) or f"'{key}=' has no value.")
        else:
            overrides[key] = _parse(pair)
    found = find_problems(overrides, command, model_flag=model_flag)
    if problems or found:
        raise ConfigError("\n".join([*problems, *found]))
    return check_arguments(overrides, command)


def _parse(pair: str) -> Any:
    try:
        return parse_key_value_pair(pair)[1]
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # what Python's parser says of 10,000 brackets
        return pair.partition("=")[2]


def is_argument(key: str) -> bool:
    """Whether ultralytics knows an argument of that name."""
    return key in DEFAULT_CFG_DICT


def check_arguments(
    arguments: Mapping[str, Any], command: Command = "train", *, own: Iterable[str] = ()
) -> dict[str, Any]:
    """Checks names and values of arguments and returns them; whole numbers that were written as 1e2 are ints.

    Args:
        arguments: by key.
        command: who takes them.
        own: names beside ultralytics', which a misspelt one may mean.

    Raises:
        ConfigError: every problem found, one a line.
    """
    problems = find_problems(arguments, command, own=own)
    if problems:
        raise ConfigError("\n".join(problems))
    if command in TRAININGS and is_int8(arguments.get("quantize")):
        check_installed("modelopt", "huggingface_hub", purpose=INT8)
    values = {key: _as_int(key, value) for key, value in arguments.items()}
    try:
        get_cfg(dict(DEFAULT_CFG_DICT), dict(values))  # the last word is ultralytics'
    except (TypeError, ValueError, SyntaxError) as error:
        raise ConfigError(str(error)) from None
    return values


def check_trainer_arguments(arguments: Mapping[str, Any], command: Command, own: Iterable[str] = ()) -> None:
    """Checks what a trainer was given from Python, where ultralytics adds keys of its own and whole default sets.

    A key that the command has no use for passes with its default value.

    Raises:
        ConfigError: every problem found, one a line.
    """
    given = {key: value for key, value in arguments.items() if key not in FROM_UPSTREAM}
    idle = {k for k, v in given.items() if k in TABLE and command in TABLE[k].refused and v == DEFAULT_CFG_DICT.get(k)}
    check_arguments({key: value for key, value in given.items() if key not in {*idle, "exist_ok"}}, command, own=own)


def find_problems(
    arguments: Mapping[str, Any],
    command: Command = "train",
    *,
    model_flag: str = "--student",
    own: Iterable[str] = (),
) -> list[str]:
    """Everything that is wrong with arguments, a line each; ``own`` are names beside ultralytics'."""
    problems = []
    for key, value in arguments.items():
        known = TABLE.get(key)
        if known is None:
            problem = _unknown(key, own)
        elif command in known.refused:
            problem = _refusal(key, known.refused[command].format(model_flag=model_flag))
        else:
            problem = _wrong_value(key, value, command)
        problems += [problem] if problem else []
    return problems or _check_together(arguments, command)


def _refusal(key: str, why: str) -> str:
    return f"'{key}=' {why.removeprefix('it ')}." if why.startswith("it ") else f"'{key}=': {why}."


def _unknown(key: str, own: Iterable[str] = ()) -> str | None:
    if is_argument(key):  # of a newer version than the table: ultralytics checks it
        return None
    if key in RENAMED:
        return f"'{key}' is an old name of ultralytics: write {RENAMED[key]}."
    if key in REMOVED:
        return f"'{key}' does nothing: ultralytics has removed it. Leave it out."
    return f"'{shown(key)[1:-1]}' is not an ultralytics argument.{nearest(key[:100], [*own, *DEFAULT_CFG_DICT])}"


def _wrong_value(key: str, value: Any, command: Command) -> str | None:
    rule = TABLE[key].rule
    if key == "device":
        return _wrong_device(value, command)
    if key == "imgsz" and command == "export" and isinstance(value, list | tuple) and len(value) == 2:
        return None if all(rule.holds(side) for side in value) else f"imgsz={value}: expected {rule.expected} each."
    if rule.holds(value):
        return None
    hint = ""
    if key == "imgsz" and isinstance(value, list | tuple):
        hint = " Training and validation are square: give the longer side."
    return f"{key}={shown(value) if isinstance(value, str) else _plain(value)}: expected {rule.expected}, for" + (
        f" example {key}={rule.example}.{hint}"
    )


def _plain(value: Any) -> str:
    """A value as it is typed: lists of a few numbers are shown."""
    if isinstance(value, list | tuple) and len(value) <= 8:
        return f"[{', '.join(shown(part, 30) for part in value)}]"
    return shown(value)


def _wrong_device(value: Any, command: Command) -> str | None:
    try:
        if command == "league" and len(parse_devices(value)) > 1:
            return f"device={_plain(value)}: give one device, so that time and memory can be compared."
        check_devices(value)
    except ConfigError as error:
        return str(error)
    return None


def _check_together(arguments: Mapping[str, Any], command: Command) -> list[str]:
    """Values that are right alone and wrong together."""
    problems = []
    batch, devices = arguments.get("batch", 1), check_devices(arguments.get("device"))
    if batch < 1 and (len(devices) > 1 or not _has_memory(devices)):
        problems.append(f"batch={batch} measures the memory of one GPU: on {_place(devices)} give a number: batch=16.")
    if len(devices) > 1 and isinstance(batch, int) and batch > 0 and "batch" in arguments and batch % len(devices):
        problems.append(f"batch={batch} cannot be shared by {len(devices)} GPUs: give a multiple of {len(devices)}.")
    if len(devices) > 1 and arguments.get("rect"):
        problems.append("rect=True does nothing on several GPUs: leave it out.")
    optimizer = str(arguments.get("optimizer", "auto")).lower()
    if arguments.get("momentum") == 0 and optimizer in {"sgd", "musgd"}:
        problems.append(f"momentum=0: {arguments['optimizer']} here is Nesterov's, which needs momentum above 0.")
    if arguments.get("nms") is True and "format" not in arguments:
        problems.append("nms=True embeds NMS in an export, a training does nothing with it: leave it out.")
    quantize = arguments.get("quantize")
    if quantize is not None and command in TRAININGS and not is_int8(quantize):
        problems.append(f"quantize={_plain(quantize)}: a training takes 8, for INT8. The others are of export.")
    if arguments.get("save_conf") and not arguments.get("save_txt"):
        problems.append("save_conf=True does nothing without save_txt=True.")
    return problems


def is_int8(quantize: Any) -> bool:
    """Whether ``quantize=`` asks a training for INT8."""
    return str(quantize).lower() in {"8", "int8", "w8a8"}


def _has_memory(devices: Collection[str]) -> bool:
    """Whether the device is a GPU: the one that is named, or the one that ultralytics would choose."""
    if devices:
        return next(iter(devices)) not in {"cpu", "mps"}
    import torch

    return torch.cuda.is_available()


def _place(devices: tuple[str, ...]) -> str:
    return ", ".join(devices) or "the CPU"


def _as_int(key: str, value: Any) -> Any:
    is_whole = key in TABLE and TABLE[key].rule.whole and isinstance(value, float)
    return int(value) if is_whole else value


def join_flags(overrides: Mapping[str, Any], flags: Mapping[str, Any], command: Command) -> dict[str, Any]:
    """Arguments that were written as ``key=value`` with those that have a flag of our own; None is "not said".

    Raises:
        ConfigError: one that is given both ways, or a flag's value out of range.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    twice = [f"--{key} and {key}= say the same: give one of them." for key in given if key in overrides]
    if twice:
        raise ConfigError("\n".join(twice))
    return check_arguments({**overrides, **given}, command)
