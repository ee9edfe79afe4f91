"""What a run without data or teacher uses: the built-in street scenes, and a small teacher trained on them once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ultralytics import YOLO

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.places import find_weights, project_folder
from kd_yolo.data.resolve import resolved_yaml
from kd_yolo.training.eta import say_time_left
from kd_yolo.yolo.files.loading import load_checkpoint

log = logging.getLogger("kd_yolo")

TEACHER = "yolov8s"
STUDENT_RUN: dict[str, Any] = {  # small batches and no mosaic: from scratch, that learns fastest in few minutes
    "epochs": 10,
    "batch": 4,
    "nbs": 4,  # a step a batch: ultralytics' 64 would gather 16 batches, three steps an epoch
    "optimizer": "AdamW",
    "lr0": 0.002,
    "warmup_epochs": 1,
    "mosaic": 0.0,
}
TEACHER_RUN: dict[str, Any] = {**STUDENT_RUN, "plots": False}


def demo_teacher(data: str, overrides: dict[str, Any], *, write: bool) -> str:
    """A teacher for ``data``: trained once, then kept in ``weights/`` under a name that tells what it was trained on.

    Starts from ``yolov8s.pt`` where that file is present, else from scratch.

    Args:
        data: data YAML.
        overrides: the run's ultralytics arguments; the image size and the device are taken from them.
        write: may it be trained.

    Raises:
        InputError: it is not there and may not be trained.
    """
    shared: dict[str, Any] = {key: overrides[key] for key in ("imgsz", "device", "workers") if key in overrides}
    start = find_weights(f"{TEACHER}.pt")
    start = start if Path(start).is_file() else f"{TEACHER}.yaml"
    name = _fingerprint(data, start, overrides.get("imgsz", 640))
    target = project_folder("weights") / f"demo-teacher-{name}.pt"
    if target.is_file():
        load_checkpoint(target)
        return str(target)
    if not write:
        raise InputError(
            f"no --teacher, and {target} is not trained yet: run without --dry-run once, or name a teacher."
        )
    log.warning("no --teacher: training a small one first (%s, once; kept as %s)", start, target)
    run = Path("runs/demo").resolve()
    teacher = YOLO(start)
    teacher.add_callback("on_fit_epoch_end", say_time_left)
    source = str(resolved_yaml(data, run / "data"))
    teacher.train(data=source, **TEACHER_RUN, **shared, project=str(run), name="teacher", exist_ok=True, verbose=False)
    write_bytes(target, Path(teacher.trainer.best).read_bytes())
    return str(target)


def _fingerprint(data: str, start: str, imgsz: int) -> str:
    text = json.dumps([Path(start).name, TEACHER_RUN, imgsz], sort_keys=True)
    meta = Path(data).with_name("meta.json")
    with contextlib.suppress(OSError):
        text += meta.read_text()
    return hashlib.sha256(f"{text} {Path(data).resolve()}".encode()).hexdigest()[:10]
