"""What a run uses when the user did not say: the student, the data, where weights are looked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.places import project_folders
from kd_yolo.yolo.families import families

DEFAULT_SIZES = "nsmlx"  # of a family that is not known yet


def architecture(model: Any) -> str | None:
    """The name a model's architecture goes by (``yolov8s``, ``yolo11n-seg``), None when nothing tells.

    The YAML that it was built from tells, else the file that it was fine-tuned from, else its own file name.
    """
    description = getattr(model, "yaml", None) or {}
    arguments = getattr(model, "args", None) or {}
    sources = (description.get("yaml_file"), arguments.get("model"), getattr(model, "pt_path", None))
    for source in sources:
        name = Path(str(source)).stem.removesuffix("u")  # yolov5su.pt is yolov5s
        scaled = _with_scale(name, str(description.get("scale") or ""))
        if _match(scaled):
            return scaled
    return None


def _match(name: str) -> re.Match[str] | None:
    """Family, letter of the size and task of a name such as ``yolov8n-seg``."""
    stems = "|".join(re.escape(family.stem) for family in families() if family.sizes)
    return re.match(rf"^({stems}|yolo(?:v\d+|\d+))([a-z])(-.*)?$", name)


def _with_scale(name: str, scale: str) -> str:
    """``yolov8-seg`` of scale n is ``yolov8n-seg``; a name that has its scale stays."""
    if _match(name):
        return name
    family, dash, task = name.partition("-")
    return f"{family}{scale}{dash}{task}"


def smaller(name: str) -> str:
    """The next smaller size of an architecture (``yolov8m`` -> ``yolov8s``); the smallest stays.

    Raises:
        InputError: the name has no size letter of a known family.
    """
    match = _match(name)
    known = {family.stem: family.sizes for family in families()}
    sizes = known.get(match[1]) or DEFAULT_SIZES if match else ""
    if match is None or match[2] not in sizes:
        raise InputError(f"which model is the next smaller one of '{name}' is not known: name one with --student.")
    return f"{match[1]}{sizes[max(sizes.index(match[2]) - 1, 0)]}{match[3] or ''}"


def default_student(teacher_path: str, teacher: Any) -> tuple[str, str]:
    """The student for a teacher: the next smaller size of its family.

    Returns:
        The student (weights where the file is present, else a model YAML) and one line that says why.
    """
    name = architecture(teacher)
    if name is None:
        raise InputError(f"{teacher_path} does not say which architecture it is: name a student with --student.")
    student = smaller(name)
    for folder in (Path(teacher_path).parent, Path(), *project_folders("weights")):
        if (folder / f"{student}.pt").is_file():
            return str(folder / f"{student}.pt"), f"no --student: {student}.pt, the next smaller size of {name}"
    return (
        f"{student}.yaml",
        f"no --student: {student} from scratch (no {student}.pt here), next smaller size of {name}",
    )
