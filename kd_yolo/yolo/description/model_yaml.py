"""The one door for model YAMLs: found where ultralytics would look, read within bounds, checked before it is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ultralytics
import ultralytics.nn.tasks as tasks

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_yaml_value, regular_file, shown
from kd_yolo.base.registry import nearest
from kd_yolo.yolo.description.build_budget import check_buildable
from kd_yolo.yolo.description.check import check_description
from kd_yolo.yolo.families import head_named
from kd_yolo.yolo.files.locate import refuse_impossible_name

SUFFIXES = (".yaml", ".yml")
SHIPPED = Path(ultralytics.__file__).parent / "cfg" / "models"
_P6 = re.compile(r"yolov[58][nsmlx]6")  # ultralytics calls yolov8n6 yolov8n-p6
_TEXT_MODEL = re.compile(r"-world|yoloe", re.IGNORECASE)


def is_model_yaml(name: str | Path) -> bool:
    """Whether ultralytics would take the name for a model YAML."""
    return str(name).strip().lower().endswith(SUFFIXES)


def load_model_yaml(name: str | Path, what: str = "model YAML") -> dict[str, Any]:
    """The description in a model YAML, checked; stands for ultralytics' ``yaml_model_load``.

    A file of that name comes first, then those that ultralytics ships; a size letter in the name is its scale
    (``yolov8n.yaml`` is ``yolov8.yaml`` at scale n).

    Args:
        name: a path, or the name of a YAML that ultralytics ships.
        what: what it is to the user, for messages.

    Returns:
        A dict for ``DetectionModel`` and its kind, with ``scale`` and ``yaml_file``.

    Raises:
        InputError: no such file, or one whose network is not built here.
    """
    text = str(name).strip()
    refuse_impossible_name(text, what)
    path = Path(text)
    if _P6.fullmatch(path.stem):
        path = path.with_name(path.stem.removesuffix("6") + "-p6" + path.suffix)
    file, is_shipped = _find(path, what)
    where = f"{what} {shown(str(file), 300).strip(chr(39))}"
    description = read_yaml_value(file, what)
    if not isinstance(description, dict):
        found = "nothing" if description is None else shown(description)
        raise InputError(f"{where} holds {found}, expected nc, backbone and head, as in ultralytics' yolov8.yaml.")
    description = {**description, "scale": tasks.guess_model_scale(path), "yaml_file": str(path)}
    check_description(where, description)
    if not is_shipped:
        check_buildable(where, description)
    return description


def check_model_yaml(name: str | Path, what: str = "model YAML") -> str:
    """The task of the network in a model YAML that may be built.

    Raises:
        InputError: see :func:`load_model_yaml`; or YOLO-World and YOLOE, whose text encoder would be fetched.
    """
    if _TEXT_MODEL.search(Path(str(name)).stem):
        raise InputError(f"{what} {shown(str(name))}: YOLO-World and YOLOE need a text encoder and are not built here.")
    description = load_model_yaml(name, what)
    head = head_named(str(description["head"][-1][2]))
    return str(tasks.guess_model_task(description)) if head is None else head.task


def _find(path: Path, what: str) -> tuple[Path, bool]:
    """The file that ultralytics would read, and whether it ships it."""
    plain = Path(re.sub(r"(\d+)([nslmx])(.+)?$", r"\1\3", str(path)))
    shipped = {file.name: file for file in SHIPPED.rglob("*.yaml")}
    for candidate in (path, plain):
        try:
            is_here = candidate.exists() or candidate.is_symlink()
        except (OSError, ValueError):
            is_here = True  # regular_file says why it cannot be opened
        if is_here:
            return regular_file(candidate, what), False
        if candidate.name == str(candidate) and candidate.name in shipped:
            return shipped[candidate.name], True
    hint = nearest(path.name, shipped)
    raise InputError(
        f"{what} {shown(str(path), 300)} does not exist, neither here nor among those that ultralytics ships.{hint}"
    )
