"""Labels with parents: a line is ``class cx cy w h  parent's cx cy w h  parent's line index``, all in shares.

Lines count from 0. A box without a parent has four zeros and -1. The files lie in ``plabels/`` beside ``labels/``.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import first_few, read_text, shown
from kd_yolo.data.labels import LabelProblem
from kd_yolo.geometry.forest import as_parents, check_forest, find_cycle

COLUMNS = "class cx cy w h parent_cx parent_cy parent_w parent_h parent_line"
_LOW, _HIGH = -0.01, 1.01  # ultralytics' tolerance for coordinates
_SAME = 2e-3  # the parent's box is repeated: it may be rounded to three digits


@dataclass(frozen=True)
class ParentLabels:
    """The boxes of one image and their parents.

    Args:
        classes: class id (M,) of each box.
        boxes_cxcywh: (M,4) in shares of the image.
        parents: index (M,) of each box's parent, -1 for none.
    """

    classes: npt.NDArray[np.int64]
    boxes_cxcywh: npt.NDArray[np.float64]
    parents: npt.NDArray[np.int64]

    def boxes_xyxy(self, width_px: int, height_px: int) -> npt.NDArray[np.float64]:
        """Corners (M,4) in pixels of an image of this size."""
        centre, half = self.boxes_cxcywh[:, :2], self.boxes_cxcywh[:, 2:] / 2
        return np.hstack([centre - half, centre + half]) * (width_px, height_px, width_px, height_px)


def plabel_path(image: Path) -> Path:
    """The file of an image: the last folder named ``images`` on its path becomes ``plabels``."""
    before, found, after = str(image).rpartition(f"{os.sep}images{os.sep}")
    text = f"{before}{os.sep}plabels{os.sep}{after}" if found else str(image)
    return Path(text).with_suffix(".txt")


def raise_problems(problems: list[LabelProblem]) -> None:
    """Ends with the first few problems, if there are any.

    Raises:
        InputError: there are.
    """
    if problems:
        listed = first_few(problems, separator="; ")
        raise InputError(f"{len(problems)} bad label line(s): {listed}. A plabels line is '{COLUMNS}'.")


def parse_plabels(file: Path, num_classes: int | None = None) -> tuple[ParentLabels, list[LabelProblem]]:
    """Reads a file and says what is wrong with it; with problems the labels are empty.

    Raises:
        InputError: it is missing.
    """
    if not file.exists():
        raise InputError(f"{file} does not exist: expected lines of '{COLUMNS}'.")
    try:
        text = read_text(file, what="label file")
    except InputError as error:
        if "is not a text file" not in str(error):
            raise
        return _EMPTY, [LabelProblem(file, 1, "not a text file")]
    lines = text.rstrip().splitlines() if text.strip() else []
    found = [_parse(line.split(), num_classes) for line in lines]
    problems = [LabelProblem(file, n, what) for n, what in enumerate(found, start=1) if isinstance(what, str)]
    if problems or not lines:
        return _EMPTY, problems
    rows = np.array(found, np.float64)
    problems = [LabelProblem(file, n + 1, what) for n, what in _link_problems(rows)]
    labels = ParentLabels(rows[:, 0].astype(np.int64), rows[:, 1:5], rows[:, 9].astype(np.int64))
    return (_EMPTY if problems else labels), problems


_EMPTY = ParentLabels(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64))


def _parse(words: list[str], num_classes: int | None) -> list[float] | str:
    """The numbers of one line, or what is wrong with them by themselves."""
    if not words:
        return "is empty: the parents' line numbers would not fit"
    if len(words) != 10:
        return f"has {len(words)} columns, expected 10"
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return f"{shown(' '.join(words))} is not all numbers"
    class_id, parent = numbers[0], numbers[9]
    if not class_id.is_integer() or class_id < 0 or (num_classes is not None and class_id >= num_classes):
        return f"class {words[0]}, expected {'0 or more' if num_classes is None else f'0..{num_classes - 1}'}"
    if not parent.is_integer() or parent < -1:
        return f"parent line {words[9]}, expected -1 (none) or a line, counted from 0"
    bad = [value for value in numbers[1:9] if not _LOW <= value <= _HIGH]  # also catches nan
    if bad:
        return f"coordinate {bad[0]:g}, expected shares of the image in 0..1 (not pixels)"
    size = min(numbers[3:5] + numbers[7:9])
    return f"size {size:g} is negative" if size < 0 else numbers


def _link_problems(rows: npt.NDArray[np.float64]) -> list[tuple[int, str]]:
    """Line index and what is wrong with links between lines that are fine by themselves."""
    parents, problems = rows[:, 9].astype(np.int64), list[tuple[int, str]]()
    for i, parent in enumerate(parents):
        if parent >= len(rows):
            problems.append((i, f"parent line {parent}, but the lines are 0..{len(rows) - 1}"))
        elif parent == i:
            problems.append((i, f"is its own parent ({i})"))
        elif parent < 0 and rows[i, 5:9].any():
            problems.append((i, "has a parent's box but parent line -1: expected four zeros"))
        elif parent >= 0 and np.abs(rows[i, 5:9] - rows[parent, 1:5]).max() > _SAME:
            problems.append((i, f"the parent's box is not that of line {parent} (counted from 0)"))
    if problems:
        return problems
    cycle = find_cycle(parents)
    if cycle:
        chain = " -> ".join(str(node) for node in [*cycle, cycle[0]])
        return [(cycle[0], f"is its own ancestor: {chain} (lines counted from 0)")]
    return []


def format_plabels(classes: npt.ArrayLike, boxes_cxcywh: npt.ArrayLike, parents: npt.ArrayLike) -> str:
    """The text of a file.

    Args:
        classes: class id (M,) of each box.
        boxes_cxcywh: (M,4) in shares of the image.
        parents: (M,), -1 for none.

    Raises:
        InputError: numbers of classes, boxes and parents differ, boxes are no shares, or parents no forest.
    """
    boxes = np.asarray(boxes_cxcywh, np.float64).reshape(-1, 4)
    ids, owners = np.asarray(classes, np.int64).reshape(-1), as_parents(parents, len(boxes))
    if len(ids) != len(boxes):
        raise InputError(f"{len(ids)} classes for {len(boxes)} boxes: expected one each.")
    if len(boxes) and not (boxes.min() >= _LOW and boxes.max() <= _HIGH and math.isfinite(boxes.sum())):
        raise InputError("boxes are not shares of the image in 0..1: divide pixels by its width and height first.")
    check_forest(owners)
    lines = []
    for class_id, box, parent in zip(ids, boxes, owners, strict=True):
        numbers = [*box, *(boxes[parent] if parent >= 0 else np.zeros(4))]
        lines.append(" ".join([str(class_id), *(f"{number:.6f}" for number in numbers), str(parent)]) + "\n")
    return "".join(lines)
