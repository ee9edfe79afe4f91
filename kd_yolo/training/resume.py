"""What a resumed run takes from where: its settings from its checkpoint, its folder and data never from there.

A checkpoint may be a stranger's, and a run's folder may have been moved or copied. So a resumed run writes beside the
file that was named, and trains on the data that the user names, else on the copy of the data YAML in its own folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultralytics.cfg import get_cfg
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import first_few, shown
from kd_yolo.data.check import check_for_training
from kd_yolo.data.spec import list_images, read_data_yaml

log = logging.getLogger("kd_yolo")
# What ultralytics lets a resumed run change, but for where it writes, and for its own distillation.
CHANGEABLE = (
    "data", "device", "workers", "cache", "imgsz", "batch", "patience", "time", "close_mosaic", "save_period", "freeze",
    "val", "plots", "channels_last", "augmentations",
)  # fmt: skip
# Values in a checkpoint that choose what is read, run or overwritten: the caller sets them again.
UNTRUSTED = (
    "data", "save_dir", "project", "name", "exist_ok", "model", "pretrained", "resume", "cfg", "source", "tracker",
    "distill_model", "mode",
)  # fmt: skip
ADD_DATA = "add data=path/to/data.yaml"


@dataclass(frozen=True)
class RunData:
    """The data that a resumed run trains on.

    Attributes:
        path: what ultralytics is given.
        sha256: of its content, when it was read now.
    """

    path: str
    sha256: str | None = None

    def noted(self) -> dict[str, Any]:
        """As ``args.kd`` holds it."""
        return {"data": self.path} | ({} if self.sha256 is None else {"data_sha256": self.sha256})


def check_changes(overrides: Iterable[str]) -> None:
    """Refuses arguments that a resumed run cannot change.

    Raises:
        ConfigError: names them.
    """
    fixed = sorted(set(overrides) - set(CHANGEABLE))
    if fixed:
        raise ConfigError(
            f"a resumed run keeps its {', '.join(fixed)}: leave {'it' if len(fixed) == 1 else 'them'} out, or start a"
            f" new run. It takes {', '.join(f'{key}=' for key in CHANGEABLE)}."
        )


def run_folder(last: str | Path) -> Path:
    """The folder of the run that a checkpoint belongs to: the one above ``weights``.

    Raises:
        InputError: the file does not lie in a folder ``weights``.
    """
    weights = Path(os.path.normpath(Path(last).absolute())).parent  # a link stays where it is
    if weights.name != "weights":
        raise InputError(
            f"{shown(str(last), 300)} does not lie in the folder weights/ of a run, beside which a resumed run writes:"
            " put it into <run>/weights/ and name it there."
        )
    return weights.parent


def saved_arguments(ckpt: dict[str, Any], where: str | Path) -> dict[str, Any]:
    """The training arguments in a checkpoint that may count, checked as if a user had typed them.

    Raises:
        InputError: they are no arguments of ultralytics.
    """
    saved = ckpt.get("train_args")
    if not isinstance(saved, dict):
        raise InputError(f"{where} has no training arguments: it is not the checkpoint of an interrupted run.")
    kept = {key: value for key, value in saved.items() if key in DEFAULT_CFG_DICT and key not in UNTRUSTED}
    try:
        get_cfg(overrides=dict(kept))
    except (TypeError, ValueError, SyntaxError, KeyError, AttributeError) as error:
        raise InputError(f"{where} has training arguments that ultralytics refuses: {shown(str(error))}") from None
    return kept


def settle_data(ckpt: dict[str, Any], folder: Path, given: str | None) -> RunData:
    """The data that a resumed run trains on.

    Args:
        ckpt: its checkpoint.
        folder: where it writes.
        given: ``data=``, when the user said it.

    Raises:
        InputError: no data, or data with other classes than the run began with.
    """
    arguments = ckpt.get("train_args") or {}
    if arguments.get("task") == "classify":
        return _folder_of_classes(arguments, given)
    if given is None:
        return RunData(_own_yaml(ckpt, folder))
    report = check_for_training(given, str(arguments.get("task") or "detect"))
    _require_classes(ckpt, report.names, given)
    known = arguments.get("kd")
    before = known.get("data_sha256") if isinstance(known, dict) else None
    if before is not None and before != report.sha256:
        log.warning("warning: %s differs from the data that this run began with", given)
    return RunData(given, report.sha256)


def _folder_of_classes(arguments: dict[str, Any], given: str | None) -> RunData:
    noted = arguments.get("kd")
    path = given if given is not None else noted.get("data") if isinstance(noted, dict) else None
    if not isinstance(path, str) or not Path(path).is_dir():
        raise InputError(f"the images of this run are not where they were ({shown(path)}): {ADD_DATA}.")
    return RunData(path)


def _own_yaml(ckpt: dict[str, Any], folder: Path) -> str:
    """The copy of the data YAML that the run made for itself."""
    file = folder / "data.yaml"
    try:
        spec = read_data_yaml(file)
    except InputError as error:
        raise InputError(f"the data of this run is not where it was ({error}) To go on, {ADD_DATA}.") from None
    for split in ("train", "val"):
        if not any(image.is_file() for image in list_images(spec, split)):
            raise InputError(f"{file} has no image left for '{split}': to go on, {ADD_DATA}.")
    _require_classes(ckpt, spec.names, str(file))
    return str(file)


def _require_classes(ckpt: dict[str, Any], names: dict[int, str], where: str) -> None:
    if (ckpt.get("train_args") or {}).get("single_cls"):
        return
    model = ckpt.get("ema") or ckpt.get("model")
    known = getattr(model, "names", None)
    known = dict(enumerate(known)) if isinstance(known, list | tuple) else known
    if not isinstance(known, dict) or {str(k): str(v) for k, v in known.items()} == {
        str(k): str(v) for k, v in names.items()
    }:
        return
    ours, theirs = ([str(name)[:40] for name in found.values()] for found in (names, known))
    raise InputError(
        f"{where} has {len(names)} classes ({first_few(ours)}), the run began with {len(known)} ({first_few(theirs)}):"
        " a resumed run needs the same classes in the same order. Start a new run for other classes."
    )
