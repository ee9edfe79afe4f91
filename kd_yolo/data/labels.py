"""Reads YOLO label files with ultralytics' decisions: an image with one line that it cannot use is left out whole.

Ultralytics says so in passing and trains without; here the line is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_text, shown

_LOW, _HIGH = -0.01, 1.01  # ultralytics' tolerance for coordinates
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Label:
    """One box: class id, then centre and size as shares of the image."""

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


@dataclass(frozen=True)
class LabelRules:
    """What makes a line usable.

    Attributes:
        num_classes: class ids are 0..num_classes-1.
        keypoints: ``kpt_shape`` of the data YAML (points, values a point), (0, 0) without.
        pose: the keypoints are trained; else they are cut off, as ultralytics does for boxes.
    """

    num_classes: int
    keypoints: tuple[int, int] = (0, 0)
    pose: bool = False


@dataclass(frozen=True)
class LabelFile:
    """What training makes of a label file.

    Attributes:
        labels: its boxes, repeated ones once; empty with problems.
        problems: lines for which the image is left out.
        outlines: the lines are outlines (or oriented boxes), not boxes.
        repeated: lines that are there twice and count once.
    """

    labels: list[Label]
    problems: list[LabelProblem]
    outlines: bool = False
    repeated: int = 0


def read_labels(file: Path, num_classes: int, keypoint_values: int = 0) -> tuple[list[Label], list[LabelProblem]]:
    """Reads a label file.

    Args:
        file: lines of ``class cx cy w h``, or ``class x1 y1 x2 y2 x3 y3 ...`` for outlines, in shares of the image.
        num_classes: class ids are 0..num_classes-1.
        keypoint_values: numbers that follow the box in pose data (points times values a point), else 0.

    Returns:
        The boxes in the file's order, repeated ones too, and what is wrong with lines.
    """
    shape = (keypoint_values // 3, 3) if keypoint_values % 3 == 0 else (keypoint_values // 2, 2)
    rules = LabelRules(num_classes, shape, pose=bool(keypoint_values))
    found = _read(file, rules)
    return (found, []) if isinstance(found, list) else ([], found.problems)


def read_label_file(file: Path, rules: LabelRules) -> LabelFile:
    """Reads a label file as training would.

    Raises:
        InputError: it is too large, or cannot be opened.
    """
    rows = _rows(file, rules)
    if isinstance(rows, LabelFile):
        return rows
    first = {key: box for key, box in zip(reversed(rows.keys), reversed(rows.boxes), strict=True)}
    kept = [first[key] for key in dict.fromkeys(rows.keys)]
    return LabelFile(kept, [], rows.outlines, len(rows.keys) - len(kept))


@dataclass(frozen=True)
class _Rows:
    """Lines without a problem; equal keys are repeated lines."""

    boxes: list[Label]
    keys: list[bytes]
    outlines: bool


def _read(file: Path, rules: LabelRules) -> list[Label] | LabelFile:
    rows = _rows(file, rules)
    return rows if isinstance(rows, LabelFile) else rows.boxes


def _rows(file: Path, rules: LabelRules) -> _Rows | LabelFile:
    try:
        text = read_text(file, what="label file")
    except InputError as error:
        if "is not a text file" not in str(error):
            raise
        return LabelFile([], [LabelProblem(file, 1, "not a text file")])
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    values = rules.keypoints[0] * rules.keypoints[1]
    if values and not rules.pose:
        lines = [(number, words[:5] if len(words) == 5 + values else words) for number, words in lines]
    outlines = not rules.pose and any(len(words) > 6 for _, words in lines)
    rows = [_row(words, rules, outlines=outlines) for _, words in lines]
    problems = [LabelProblem(file, n, row) for (n, _), row in zip(lines, rows, strict=True) if isinstance(row, str)]
    if problems:
        return LabelFile([], problems, outlines)
    good = [row for row in rows if not isinstance(row, str)]
    return _Rows([_label(row, outlines=outlines) for row in good], [row.tobytes() for row in good], outlines)


def _row(words: list[str], rules: LabelRules, *, outlines: bool) -> Array | str:
    """The numbers of a line, or why ultralytics leaves the image out for it."""
    wrong = _wrong_count(len(words), rules, outlines=outlines)
    if wrong:
        return wrong
    try:
        with np.errstate(over="ignore"):
            row: Array = np.array([float(word) for word in words], np.float32) + np.float32(0)  # -0 counts as 0
    except ValueError:
        return f"{shown(' '.join(words[:6]))} is not all numbers"
    wanted = f"class {words[0][:20]}, expected 0..{rules.num_classes - 1}"
    if not 0 <= row[0] < rules.num_classes or row[0] % 1:
        return wanted
    # Of an outline ultralytics checks the box around it only.
    numbers = np.array([row[0], *_label(row, outlines=True).cxcywh], np.float32) if outlines else row
    points = row[5:].reshape(-1, rules.keypoints[1])[:, :2] if rules.pose else numbers[1:]
    if not points.max() <= _HIGH:  # also catches nan
        return _no_share(float(points.max()))
    if not (numbers.min() >= 0 or (numbers.min() >= _LOW and numbers[3:5].min() >= 0)):
        size = float(numbers[3:5].min())
        return f"size {size:g} is negative" if numbers.min() >= _LOW else _no_share(float(numbers.min()))
    return row


def _no_share(value: float) -> str:
    return f"coordinate {value:g}, expected shares of the image in 0..1 (not pixels)"


def _wrong_count(count: int, rules: LabelRules, *, outlines: bool) -> str:
    values = rules.keypoints[0] * rules.keypoints[1]
    if rules.pose:
        wanted = 5 + values
        return "" if count == wanted else f"has {count} numbers, expected {wanted}: class cx cy w h and the keypoints"
    if outlines and count == 5:
        return "mixes boxes (5 numbers) and outlines (7 or more): keep one kind in a file"
    if outlines:
        is_fine = count >= 3 and count % 2
        return "" if is_fine else f"has {count} numbers, expected an odd number: class x1 y1 x2 y2 x3 y3 ..."
    return "" if count == 5 else f"has {count} numbers, expected 5: class cx cy w h"


def _label(row: Array, *, outlines: bool) -> Label:
    values = [float(value) for value in (row[1:] if outlines else row[1:5])]
    box = _outline_box(values) if outlines else (values[0], values[1], values[2], values[3])
    return Label(int(row[0]), box)


def _outline_box(values: list[float]) -> tuple[float, float, float, float]:
    xs, ys = values[0::2], values[1::2]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)
