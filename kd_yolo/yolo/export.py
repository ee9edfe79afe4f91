"""Exports for deployment, by ultralytics, into a folder of their own: nothing is installed, fetched or advertised."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultralytics.cfg import get_cfg
from ultralytics.engine.exporter import Exporter, export_formats
from ultralytics.utils import DEFAULT_CFG, SETTINGS

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.base.extras import check_installed, missing
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.data.resolve import resolved_data
from kd_yolo.yolo.export_formats import require_format
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.quiet import quiet

NEEDED_INT8 = {"onnx": ("onnxruntime",), "openvino": ("nncf",)}
COMMON = ("imgsz", "batch", "device", "half", "int8", "quantize", "split")  # of every format
CALIBRATED = {"8", "int8", "w8a8", "w8a16"}  # values of quantize= that look at images
ALWAYS_INT8 = {"deepx", "axelera", "imx", "edgetpu", "qnn", "hailo", "xilinx"}
OFF = {"none", "false", "0", ""}


def check_export(kind: str, arguments: dict[str, Any], data: str | None) -> None:
    """Checks what can be checked before anything is loaded.

    Args:
        kind: ultralytics' name of the format.
        arguments: ultralytics' export arguments.
        data: what INT8 is calibrated on when ``arguments`` have no ``data``.

    Raises:
        ConfigError: a format or an argument that is not known, INT8 without data.
        MissingDependencyError: the format's package is not installed; the message holds the install line.
    """
    takes = _taken(kind)
    for key in arguments:
        if key not in takes:
            hint = nearest(key, takes) or f" It takes {', '.join(takes)}."
            raise ConfigError(f"export to '{kind}' has no argument '{key}'.{hint}")
    is_int8 = calibrates(kind, arguments)
    if "data" in arguments and not is_int8:
        raise ConfigError(f"export to '{kind}' looks at data= for INT8 only: add int8=True, or leave data= out.")
    if is_int8 and not (arguments.get("data") or data):
        raise ConfigError(f"export to '{kind}' in INT8 is calibrated on images: add data=my/data.yaml.")
    _check_values(kind, arguments)
    require_format(kind)
    if is_int8:
        check_installed(*NEEDED_INT8.get(kind, ()), purpose=f"export to {kind} in INT8")


def _check_values(kind: str, arguments: dict[str, Any]) -> None:
    size = arguments.get("imgsz", 640)
    for side in size if isinstance(size, list | tuple) and len(size) == 2 else [size]:
        if isinstance(side, bool) or not isinstance(side, int) or side < 32:
            raise ConfigError(f"export to '{kind}': imgsz={shown(size)}, expected 32 or more: imgsz=640.")
    try:
        get_cfg(DEFAULT_CFG, _one_word({key: value for key, value in arguments.items() if key != "imgsz"}))
    except (ValueError, TypeError, SyntaxError) as error:
        raise ConfigError(f"export to '{kind}': {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """What upstream's messages say in their first line, without their mark."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return first.removeprefix("ERROR ❌️ ")[:300]


def _taken(kind: str) -> tuple[str, ...]:
    """The arguments that a format takes.

    Raises:
        ConfigError: no such format.
    """
    table = export_formats()
    known = dict(zip(table["Argument"], table["Arguments"], strict=True))
    known.pop("-", None)  # PyTorch itself
    if kind not in known:
        hint = " The weights are in PyTorch format already." if kind in {"pt", "pytorch", "torch"} else ""
        raise ConfigError(
            f"unknown export format '{kind}'.{hint or nearest(kind, known)} Known: {', '.join(sorted(known))}."
        )
    return tuple(dict.fromkeys((*COMMON, *known[kind])))


def calibrates(kind: str, arguments: dict[str, Any]) -> bool:
    """Whether an export looks at images: INT8 with ranges of activations, in a format that takes ``data``."""
    wanted = str(arguments.get("int8", "")).lower() not in OFF or str(arguments.get("quantize")).lower() in CALIBRATED
    return (wanted or kind in ALWAYS_INT8) and "data" in _taken(kind)


def export_model(
    weights: str | Path, kind: str, folder: Path, arguments: dict[str, Any], *, trust: bool = False
) -> Path:
    """Exports a checkpoint.

    Args:
        weights: a checkpoint.
        kind: ultralytics' name of the format (``onnx``, ``openvino``, ``torchscript``, ...).
        folder: where the result goes; made if needed.
        arguments: ultralytics' export arguments; ``imgsz`` is by default what the checkpoint was trained at.
        trust: load checkpoints that name classes outside the allow-list.

    Returns:
        The file, or the folder of a format that is one.

    Raises:
        ConfigError, MissingDependencyError: see :func:`check_export`; also what ultralytics refuses.
        InputError: weights or data that cannot be used.
        KDYoloError: nothing was written.
    """
    check_export(kind, arguments, None)
    model: Any = load_checkpoint(weights, trust=trust)[0]
    folder.mkdir(parents=True, exist_ok=True)
    made = _export_into(folder, model, kind, Path(weights).name, arguments)
    if not made.exists() or (made.is_file() and not made.stat().st_size):
        raise KDYoloError(f"export to '{kind}' said that it wrote {made}, and there is nothing.")
    return made


def _export_into(folder: Path, model: Any, kind: str, name: str, arguments: dict[str, Any]) -> Path:
    with tempfile.TemporaryDirectory() as place:
        given = dict(arguments)
        if calibrates(kind, given):
            given["data"] = resolved_data(str(given["data"]), str(model.task), Path(place), "val")
            given["split"] = "val"
        shape = (getattr(model, "args", None) or {}).get("imgsz", 640)
        return _run(model, folder / name, {"imgsz": shape, "batch": 1, **given, "format": kind})


def _run(model: Any, beside: Path, arguments: dict[str, Any]) -> Path:
    model.pt_path = str(beside)  # the exporter writes beside it, and INT8 deletes the float file there
    kind = arguments["format"]
    try:
        with quiet(logging.ERROR), no_openvino_hint():
            return Path(str(Exporter(overrides={**_one_word(arguments), "mode": "export"})(model=model)))
    except ImportError as error:
        raise missing(error.name or kind, error, purpose=f"export to {kind}") from error
    except (ValueError, TypeError, SyntaxError, AssertionError) as error:
        raise ConfigError(f"export to '{kind}': {_first_line(error)}") from None


def _one_word(arguments: dict[str, Any]) -> dict[str, Any]:
    """``int8=True`` and ``half=True`` as ``quantize=``, where the release has that, without a warning of their age."""
    given = {key: value for key, value in arguments.items() if key not in ("int8", "half")}
    wanted = {key: str(arguments.get(key, "")).lower() not in OFF for key in ("int8", "half")}
    if not any(wanted.values()):
        return given
    if any("quantize" in names for names in export_formats()["Arguments"]):
        return {"quantize": 8 if wanted["int8"] else 16, **given}
    return {**given, **wanted}


@contextlib.contextmanager
def no_openvino_hint() -> Iterator[None]:
    """The exporter would give a hint once and note that in the user's settings file; here it is not due."""
    hint = SETTINGS.get("openvino_msg", False)
    dict.__setitem__(SETTINGS, "openvino_msg", False)  # in memory only: its own __setitem__ writes the file
    try:
        yield
    finally:
        dict.__setitem__(SETTINGS, "openvino_msg", hint)
