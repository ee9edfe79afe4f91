"""How good teacher and student are on val, before a run and after it: mAP50-95, in all and by class."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.reading import printable
from kd_yolo.base.rng import seeded
from kd_yolo.distill.build import check_channels
from kd_yolo.distill.classes import class_names, map_classes
from kd_yolo.yolo.evaluate import validate
from kd_yolo.yolo.heads import head_facts, input_channels

LIMIT_S = 60.0  # a teacher that takes longer on val is not measured
KEY = "metrics/mAP50-95(B)"
GAINS = "gains.csv"


class TooLong(Exception):  # noqa: N818
    """Validation ran into its limit."""


@dataclass(frozen=True)
class Score:
    """mAP50-95 on val.

    Attributes:
        all: over all classes.
        by_class: of each class that val has, by name.
    """

    all: float
    by_class: dict[str, float]


@dataclass(frozen=True)
class Measuring:
    """What networks are measured on.

    Attributes:
        data: data YAML.
        imgsz: longer side in pixels.
        batch: images at a time.
        device: as ultralytics takes it; None is the first GPU, else the CPU.
    """

    data: str
    imgsz: int
    batch: int = 32
    device: Any = None

    def score(self, network: str | Path | nn.Module, limit_s: float = float("inf")) -> Score:
        """Validates; the global random state is left as it was.

        Args:
            network: weights or a model, with the data's classes.
            limit_s: the most seconds that it may take.

        Raises:
            TooLong: it would take longer.
            InputError: weights or data that cannot be used.
        """
        end = time.monotonic() + limit_s
        seen: list[Any] = []

        def watch(validator: Any) -> None:
            seen[:] = [validator]
            if time.monotonic() > end:
                raise TooLong

        with seeded(0):
            found = validate(
                network, self.data, imgsz=self.imgsz, batch=self.batch, device=self.device, watch=watch
            )  # fmt: skip
        box, names = seen[0].metrics.box, seen[0].data["names"]
        return Score(found[KEY], {str(names[int(i)]): float(box.maps[int(i)]) for i in box.ap_class_index})


def unfamiliar(name: str, teacher: nn.Module, student: nn.Module) -> str | None:
    """One line on a teacher whose classes are not those of the data in their order; None when they are.

    Args:
        name: the teacher's.
        teacher: the model.
        student: a model with the data's classes, see :func:`kd_yolo.distill.classes.student_for`.
    """
    count = head_facts(teacher, "teacher").num_classes
    try:
        found, _ = map_classes("bkd", student, teacher)
    except ConfigError:
        return f"the teacher {name} has never seen these classes: none of its {count} is one of the data's"
    if not found.student:
        return None
    num_data = head_facts(student).num_classes
    return (
        f"the teacher {name} knows {len(found.student)} of {num_data} classes, and"
        f" {count - len(found.teacher)} others: its mAP on val is not measured"
    )


def measure_start(
    measuring: Measuring, teachers: Mapping[str, nn.Module], student: nn.Module, start: nn.Module | None
) -> tuple[dict[str, Any], list[str]]:
    """The teachers on val, and the student where it knows the classes before it is trained.

    Args:
        measuring: data and sizes.
        teachers: the models by name.
        student: a model with the data's classes.
        start: the student as it was loaded; None for one from scratch.

    Returns:
        Plain values for ``run.json``, and lines for the log.

    Raises:
        InputError: a teacher of images with other channels, or data that cannot be used.
    """
    scores: dict[str, Score] = {}
    lines = []
    for name, model in teachers.items():
        check_channels(student, model)
        line = unfamiliar(name, model, student)
        if line is None:
            try:
                scores[name] = measuring.score(model, LIMIT_S)
                line = f"the teacher {name} has {scores[name].all:.4f} mAP50-95 on val"
            except TooLong:
                line = f"the teacher {name} is not measured: val takes longer than {LIMIT_S:g} s"
        lines.append(line)
    first = 0.0
    knows = start is not None and class_names(start) == class_names(student) is not None
    if scores and start is not None and knows and input_channels(start) == input_channels(student):
        try:
            first = measuring.score(start, LIMIT_S).all
            lines.append(f"the student starts at {first:.4f} mAP50-95 on val")
        except TooLong:
            lines.append(f"the student's start is not measured: val takes longer than {LIMIT_S:g} s")
    lines += [
        f"the teacher {name} is not better than the student at its start ({score.all:.4f} against {first:.4f}): it has"
        " little to teach; train it longer, or choose a larger one"
        for name, score in scores.items()
        if score.all <= first
    ]
    teachers_found = {name: {"map50_95": score.all, "by_class": score.by_class} for name, score in scores.items()}
    return {"teachers": teachers_found, "student_start": first if scores else None}, lines


def measured_teachers(folder: Path) -> dict[str, Score]:
    """The teachers of a run as they were measured before it, by name; empty where they were not."""
    file = folder / "run.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    teachers = (found.get("measured") or {}).get("teachers") or {}
    return {name: Score(values["map50_95"], values["by_class"]) for name, values in teachers.items()}


def gain_lines(folder: Path, student: Score, alone: Score | None) -> list[str]:
    """Teacher, student and, where it was trained, the student alone by class; written to ``gains.csv`` too.

    Args:
        folder: the run's.
        student: its best weights on val.
        alone: those of the same training without a teacher.
    """
    columns = {f"teacher{i}" if i > 1 else "teacher": s for i, s in enumerate(measured_teachers(folder).values(), 1)}
    columns |= {"alone": alone} if alone is not None else {}
    if not columns:
        return []
    columns["student"] = student
    names = [*student.by_class, "all"]
    table = [["class", *columns], *([name, *(_cell(score, name) for score in columns.values())] for name in names)]
    text = io.StringIO()
    csv.writer(text).writerows(table)
    write_bytes(folder / GAINS, text.getvalue().encode())
    lines = ["mAP50-95 on val by class:", *_aligned(table)]
    if alone is not None:
        lines.append(
            f"under the teacher {student.all - alone.all:+.4f} against the same training alone, at equal epochs and one"
            " seed: another seed may say otherwise (kd-yolo league compares several)"
        )
    return lines


def _cell(score: Score, name: str) -> str:
    value = score.all if name == "all" else score.by_class.get(name)
    return "" if value is None else f"{value:.4f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    shown = [[printable(row[0])[:24], *row[1:]] for row in table]
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))]
    return [
        "  " + "  ".join([f"{row[0]:{widths[0]}}", *(f"{x:>{w}}" for x, w in zip(row[1:], widths[1:], strict=True))])
        for row in shown
    ]
