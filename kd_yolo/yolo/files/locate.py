"""From what the user typed to an existing weights file: here, in ultralytics' weights folder, or downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from ultralytics import utils
from ultralytics.utils import checks, downloads

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import regular_file, shown
from kd_yolo.base.registry import nearest

EXPORTED = {
    ".onnx": "an ONNX export",
    ".torchscript": "a TorchScript export",
    ".engine": "a TensorRT engine",
    ".xml": "an OpenVINO model",
    ".safetensors": "a safetensors file",
    ".tflite": "a TensorFlow Lite export",
    ".pb": "a TensorFlow export",
    ".mlpackage": "a Core ML export",
}
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one slash: Path takes the second; C:/ has one letter
_MAX_NAME = 255  # bytes of a file name
TEACHER = "--teacher"  # the one flag that may be left out offline: the demo has a teacher of its own
GIVE_THE_PT = "It holds no PyTorch model to train or distil: give the .pt file that it was exported from."


def locate(path: str | Path, flag: str | None = None) -> Path:
    """The weights file that ``path`` stands for; an official name such as ``yolov8m.pt`` is fetched when online.

    Args:
        path: what was typed.
        flag: the flag it was typed for, which the message then names.

    Raises:
        InputError: no file: an unknown name, a folder, a YAML, an export, or an official name while offline.
    """
    text = str(path).strip()
    refuse_impossible_name(text, "weights")
    try:
        return _found(Path(text).expanduser(), text, flag)
    except (OSError, ValueError, RuntimeError) as error:  # too long, a file as a folder; no home of that user
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"weights {shown(text)} cannot be opened: {shown(reason)}.") from None


def refuse_impossible_name(text: str, what: str) -> None:
    """Refuses a web address, which is never fetched, and what no file system takes for a name.

    Raises:
        InputError: it is one.
    """
    if _ADDRESS.match(text):
        raise InputError(f"{what} {shown(text)} is a web address: download the file and give its path.")
    if not text or "\0" in text or any(len(part.encode(errors="replace")) > _MAX_NAME for part in text.split("/")):
        raise InputError(f"{what} {shown(text)} cannot be the name of a file.")


def _found(file: Path, text: str, flag: str | None) -> Path:
    _reject_by_suffix(file)
    if file.is_dir():
        raise InputError(_folder_message(file))
    if file.exists():
        return regular_file(file, "weights")
    cached = Path(utils.SETTINGS["weights_dir"]) / file  # where ultralytics keeps downloads
    if ".." not in file.parts and cached.is_file():
        return cached
    if checks.check_yolov5u_filename(file.name, verbose=False) in downloads.GITHUB_ASSETS_NAMES:
        return _download(file, flag)
    raise InputError(
        f"weights {shown(text)} do not exist (looked in {shown(str(file.absolute().parent), 300)}).{_similar(file)}"
        " Copy the file here or give its path."
    )


def _reject_by_suffix(file: Path) -> None:
    suffix = file.suffix.lower()
    if suffix in {".yaml", ".yml"}:
        raise InputError(
            f"{file} is a model description, not a checkpoint: it holds no trained weights."
            f" Give a .pt file, for example {file.with_suffix('.pt').name}."
        )
    if suffix in EXPORTED:
        raise InputError(f"{file} is {EXPORTED[suffix]}. {GIVE_THE_PT}")


def _folder_message(folder: Path) -> str:
    if any(folder.glob("*.xml")):
        return f"{folder} is the folder of an OpenVINO model. {GIVE_THE_PT}"
    for inside in ("weights/best.pt", "best.pt"):
        if (folder / inside).is_file():
            return f"{folder} is a folder, expected a .pt file: give {folder / inside}."
    return f"{folder} is a folder, expected a .pt file."


def _similar(file: Path) -> str:
    here = [found.name for found in file.absolute().parent.glob("*.pt")]
    return nearest(file.name, [*here, *downloads.GITHUB_ASSETS_NAMES])


def _download(file: Path, flag: str | None) -> Path:
    """Fetches an official file; without a network the message says what works offline."""
    offline = utils.env_bool("YOLO_OFFLINE") or not utils.ONLINE
    reason: object = "this machine is offline"
    if not offline:
        try:
            fetched = Path(downloads.attempt_download_asset(file))
            if fetched.is_file():
                return fetched
            reason = "the download left no file"
        except (OSError, MemoryError) as error:  # ConnectionError of safe_download and requests' errors among them
            reason = error
    advice = " or give the path of yours." if flag is None else f", use {flag} path/to/your.pt"
    advice += ", or run the demo without --teacher." if flag == TEACHER else "." * (flag is not None)
    raise InputError(
        f"{file} is not here, and it could not be fetched from ultralytics: {reason}. Copy the file here{advice}"
    )
