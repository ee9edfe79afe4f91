"""Checkpoint bytes to objects: looked through first, then loaded with torch's ``weights_only`` unpickler.

Two locks on one door. The scan refuses by name, before anything runs, what is not on the allow-list, and every call of
a layer class: ``weights_only`` would let a file call ``DetectionModel(cfg)`` with a description of its own, and
ultralytics builds such a description with ``eval``. The unpickler then knows only the names that this file needs.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import ultralytics.nn.tasks as tasks
from ultralytics.utils import LOGGER, checks

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import Name, PickleFacts, ScanError, TooLargeError
from kd_yolo.base.torch_files import changed_plain_names, is_plain_name, scan_archive, scan_legacy
from kd_yolo.yolo.files import allow_list
from kd_yolo.yolo.files.file_kind import GIVE_A_MODEL, Kind, damaged, read_checkpoint

OVERRIDE = "--trust-weights loads it anyway (runs whatever code the file holds)"
# what comes of values of other types than the code that takes them expects; RecursionError is a RuntimeError
MALFORMED = (
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NameError,
    OSError,
    struct.error,
)
_SAFE_PROTOCOL = 2  # torch.save's default, and all that the weights_only unpickler understands
_SAFE_GLOBALS_LOCK = threading.Lock()  # torch keeps one allow-list for the process
_YOLOV5_MODULES = {"models", "models.yolo", "models.common", "models.experimental"}


def unpickle_safely(file: Path) -> Any:
    """Loads a checkpoint that consists of known classes.

    Raises:
        InputError: another format, a damaged file, or a name that is not a part of a YOLO model.
    """
    data, kind = read_checkpoint(file)
    names: dict[Name, None] = {}
    for facts in _scan(file, data, kind):
        _refuse_unknown(file, facts, kind)
        names |= facts.named
    entries = allow_list.entries_for(list(names))
    try:
        with _SAFE_GLOBALS_LOCK, torch.serialization.safe_globals(entries):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise InputError(f"{file} needs more memory than there is.") from error
    except pickle.UnpicklingError as error:
        reason = _first_line(str(error).rpartition("WeightsUnpickler error:")[2])
        raise InputError(f"{file} was refused while it was read: {reason}. {OVERRIDE}.") from error
    except MALFORMED as error:
        raise damaged(file, _first_line(error)) from error


def unpickle_trusted(file: Path) -> Any:
    """Loads a checkpoint with whatever it holds, code included; still installs nothing.

    Raises:
        InputError: another format, a damaged file, or a module that is not installed.
    """
    data, _ = read_checkpoint(file)
    LOGGER.warning(f"--trust-weights: {file} is loaded without checks and may run any code that it holds.")
    try:
        with _no_installs(), tasks.temporary_modules(_OLD_MODULES, _OLD_ATTRIBUTES):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:  # a module, or a class within one, that is not here
        module = getattr(error, "name", None) or ""
        if module in _YOLOV5_MODULES:
            raise _anchor_based(file, module) from error
        raise InputError(
            f"{file} needs code that is not here: {_first_line(error)}. Nothing is installed because a file names it:"
            " install the package that the model was trained with yourself."
        ) from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise damaged(file, _first_line(error)) from error


_OLD_MODULES = {
    "ultralytics.yolo.utils": "ultralytics.utils",
    "ultralytics.yolo.v8": "ultralytics.models.yolo",
    "ultralytics.yolo.data": "ultralytics.data",
}
_OLD_ATTRIBUTES = {
    "ultralytics.nn.modules.block.Silence": "torch.nn.Identity",
    "ultralytics.nn.tasks.YOLOv10DetectionModel": "ultralytics.nn.tasks.DetectionModel",
    "ultralytics.utils.loss.v10DetectLoss": "ultralytics.utils.loss.E2EDetectLoss",
}


def _scan(file: Path, data: bytes, kind: Kind) -> list[PickleFacts]:
    """What each pickle of the file would do; nothing runs."""
    try:
        if kind is Kind.LEGACY:
            return scan_legacy(io.BytesIO(data), len(data))
        return [scan_archive(torch._C.PyTorchFileReader(io.BytesIO(data)))]
    except TooLargeError as error:
        raise InputError(f"{file} is not the checkpoint of a YOLO model: {error}. {GIVE_A_MODEL}") from error
    except (ScanError, RuntimeError, IndexError) as error:
        raise damaged(file, _first_line(error)) from error


def _refuse_unknown(file: Path, facts: PickleFacts, kind: Kind) -> None:
    for name in facts.named:
        if name.module in _YOLOV5_MODULES:
            raise _anchor_based(file, name)
    for name in facts.named:
        if not is_plain_name(name) and allow_list.resolve(name) is None:
            raise InputError(
                f"{file} names '{name}', which is not a part of a YOLO model{_if_missing(name)}: opening it could run"
                f" code, so it was not opened. {OVERRIDE}."
            )
    if facts.opaque and kind is Kind.LEGACY:
        raise InputError(
            f"{file} is a model in PyTorch's format from before version 1.6, which holds source code beside its layers."
            f" Open it where it was made and save it with a newer PyTorch. {OVERRIDE}."
        )
    if facts.protocol > _SAFE_PROTOCOL:
        raise InputError(
            f"{file} was saved with pickle protocol {facts.protocol}, safe loading reads {_SAFE_PROTOCOL}: save it"
            f" again with torch.save's own default. {OVERRIDE}."
        )
    calls = [f"'{name}'" for name in facts.called if not allow_list.is_callable_name(name)]
    calls += [f"'{name}'" for name in changed_plain_names(facts)]
    calls += facts.opaque
    if calls:
        raise InputError(f"{file} calls {calls[0]} while it is opened, which no YOLO model does. {OVERRIDE}.")


def _if_missing(name: Name) -> str:
    package = name.module.partition(".")[0]
    if package.isidentifier() and package not in sys.modules and importlib.util.find_spec(package) is None:
        return f" (nor is '{package}' installed, and nothing is installed because a file names it)"
    return ""


def _anchor_based(file: Path, name: object) -> InputError:
    successor = checks.check_yolov5u_filename(file.name, verbose=False)
    successor = successor if successor != file.name else "yolov5nu.pt"
    return InputError(
        f"{file} is an anchor-based YOLOv5 or YOLOv7 checkpoint (it names '{name}'), which ultralytics cannot run."
        f" Use {successor} from ultralytics, the anchor-free version."
    )


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")


@contextmanager
def _no_installs() -> Iterator[None]:
    """Keeps modules that a trusted file imports from pip-installing what they lack (``ultralytics.nn.text_model``)."""
    before, checks.AUTOINSTALL = checks.AUTOINSTALL, False
    try:
        yield
    finally:
        checks.AUTOINSTALL = before
