"""Reads YOLO label files strictly: ultralytics drops a picture with one bad line, and only says so in passing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LOW, _HIGH = -0.01, 1.01  # ultralytics' tolerance for coordinates


@dataclass(frozen=True)
class Label:
    """One box: class id, then centre and size as shares of the picture."""

    class_id: int
    cxcywh: tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelProblem:
    """A line that training could not use."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def read_labels(file: Path, num_classes: int, keypoint_values: int = 0) -> tuple[list[Label], list[LabelProblem]]:
    """Reads a label file.

    Args:
        file: lines of ``class cx cy w h``, or ``class x1 y1 x2 y2 x3 y3 ...`` for outlines, in shares of the picture.
        num_classes: class ids are 0..num_classes-1.
        keypoint_values: numbers that follow the box in pose data (points times values a point), else 0.

    Returns:
        the boxes, and what is wrong with the other lines.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return [], [LabelProblem(file, 1, "not a text file")]
    labels: list[Label] = []
    problems: list[LabelProblem] = []
    widths: set[bool] = set()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if keypoint_values:
            parsed = _parse_pose(words, num_classes, keypoint_values)
        else:
            parsed = _parse(words, num_classes)
            widths.add(len(words) > 5)
        if isinstance(parsed, Label):
            labels.append(parsed)
        else:
            problems.append(LabelProblem(file, number, parsed))
    if len(widths) > 1 and not problems:
        problems.append(
            LabelProblem(file, 1, "mixes boxes (5 numbers) and outlines (7 or more): keep one kind in a file")
        )
    return labels, problems


def _parse(words: list[str], num_classes: int) -> Label | str:
    """One line as a label, or what is wrong with it."""
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        return f"has {len(words)} numbers, expected 5: class cx cy w h"
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return f"'{' '.join(words[:6])}' is not all numbers"
    class_id, values = numbers[0], numbers[1:]
    if not class_id.is_integer() or not 0 <= class_id < num_classes:
        return f"class {words[0]}, expected 0..{num_classes - 1}"
    bad = [value for value in values if not _LOW <= value <= _HIGH]  # also catches nan
    if bad:
        return f"coordinate {bad[0]:g}, expected shares of the picture in 0..1 (not pixels)"
    box = _outline_box(values) if len(values) > 4 else (values[0], values[1], values[2], values[3])
    if min(box[2:]) < 0:
        return f"size {min(box[2:]):g} is negative"
    return Label(int(class_id), box)


def _parse_pose(words: list[str], num_classes: int, keypoint_values: int) -> Label | str:
    """One line of pose data: the box counts, and that all its keypoints are there."""
    if len(words) != 5 + keypoint_values:
        return f"has {len(words)} numbers, expected {5 + keypoint_values}: class cx cy w h and the keypoints"
    return _parse(words[:5], num_classes)


def _outline_box(values: list[float]) -> tuple[float, float, float, float]:
    xs, ys = values[0::2], values[1::2]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)
