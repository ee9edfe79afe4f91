"""Boxes with numbers over time, and MOTChallenge's text files of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_text, shown

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
PEDESTRIAN = 1
NOT_SAID = (-1, 0)  # MOT15 and results have -1 for the class: every line is a person
# Person on a vehicle, static person, distractor, reflection: a track on one is neither right nor wrong. MOT20 adds
# vehicles (6). A track on anything else (a car, an occluder) is a false box.
FORGIVING, FORGIVING_MOT20 = (2, 7, 8, 12), (2, 6, 7, 8, 12)
COLUMNS = "frame,id,left,top,width,height,flag,class,visibility"
LARGEST = 1e9  # of a frame, a number or a coordinate


@dataclass(frozen=True)
class Sightings:
    """Who is where in which frame.

    Attributes:
        frames_n: number of the frame, from 1 as in the files.
        ids_n: number of the person or track.
        boxes_xyxy_n4: corners in pixels.
        counts_n: False for a box that does not count as missed.
        forgives_n: True for a box that does not count and makes no box on it false; None: all that do not count.
    """

    frames_n: Ints
    ids_n: Ints
    boxes_xyxy_n4: Floats
    counts_n: Mask
    forgives_n: Mask | None = field(default=None)

    @classmethod
    def of(cls, frames: Sequence[int] | Ints, ids: Sequence[int] | Ints, boxes_xyxy_n4: npt.ArrayLike) -> Sightings:
        """All of them count."""
        boxes = np.asarray(boxes_xyxy_n4, np.float64).reshape(-1, 4)
        return cls(np.asarray(frames, np.int64), np.asarray(ids, np.int64), boxes, np.ones(len(boxes), bool))

    def __len__(self) -> int:
        return len(self.frames_n)

    @property
    def forgiving_n(self) -> Mask:
        """Which boxes make no box on them false."""
        return ~self.counts_n if self.forgives_n is None else self.forgives_n

    def where(self, mask_n: Mask) -> Sightings:
        """Some of them."""
        return Sightings(
            self.frames_n[mask_n], self.ids_n[mask_n], self.boxes_xyxy_n4[mask_n], self.counts_n[mask_n],
            self.forgiving_n[mask_n],
        )  # fmt: skip


def joined(parts: Sequence[Sightings], lengths: Sequence[int]) -> Sightings:
    """The sightings of several cameras as one film after the other: a number is one person in all of them.

    Args:
        parts: of each camera.
        lengths: number of frames of each.
    """
    starts = np.cumsum([0, *lengths[:-1]])
    frames = [part.frames_n + start for part, start in zip(parts, starts, strict=True)]
    names = ("ids_n", "boxes_xyxy_n4", "counts_n", "forgiving_n")
    return Sightings(np.concatenate(frames), *(np.concatenate([getattr(part, name) for part in parts])
                                               for name in names))  # fmt: skip


def read_mot(file: Path) -> Sightings:
    """Reads the truth about a video.

    Args:
        file: lines ``frame,id,left,top,width,height,flag,class,visibility``, the last two may be missing. Lines with
            flag 0 and of classes other than 1 (pedestrian) do not count; class -1 or 0 means that the class is not
            said, which is a person. Of those that do not count, people with flag 0 and the classes 2, 7, 8 and 12 (6
            too where the path names MOT20) forgive a track's box on them, as MOTChallenge's own evaluation does.

    Raises:
        InputError: no such file, a line that is none of this format, or a number twice in a frame.
    """
    if not os.path.lexists(file):
        raise InputError(f"{file}: no such file. The truth of a video has lines {COLUMNS}.")
    try:
        text = read_text(file, what="truth")
    except InputError as error:
        raise InputError(f"{error} The truth of a video has lines {COLUMNS}.") from None
    rows = [_numbers(file, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    table_n8 = np.array(rows, np.float64).reshape(-1, 8)
    frames_n, ids_n = table_n8[:, 0].astype(np.int64), table_n8[:, 1].astype(np.int64)
    _check_once(file, frames_n, ids_n)
    corners_n4 = np.column_stack([table_n8[:, 2:4], table_n8[:, 2:4] + table_n8[:, 4:6]])
    class_n = table_n8[:, 7]
    is_mot20 = any("MOT20" in part.upper() for part in Path(file).absolute().parts)
    is_person_n = np.isin(class_n, (PEDESTRIAN, *NOT_SAID))
    counts_n = (table_n8[:, 6] != 0) & is_person_n
    forgives_n = np.isin(class_n, FORGIVING_MOT20 if is_mot20 else FORGIVING) | (is_person_n & ~counts_n)
    return Sightings(frames_n, ids_n, corners_n4, counts_n, forgives_n)


def read_truth(file: Path) -> Sightings:
    """:func:`read_mot` of a file that tracks are scored by.

    Raises:
        InputError: see there; or there is nothing to score by.
    """
    found = read_mot(file)
    if not found.counts_n.any():
        raise InputError(
            f"{file} has nothing to score by: none of its {len(found)} lines counts. Lines of people have flag 1 and"
            f" class 1 (or -1: not said): {COLUMNS}."
        )
    return found


def _check_once(file: Path, frames_n: Ints, ids_n: Ints) -> None:
    pairs_m2, counts_m = np.unique(np.column_stack([frames_n, ids_n]), axis=0, return_counts=True)
    twice = np.flatnonzero(counts_m > 1)
    if len(twice):
        frame, number = pairs_m2[twice[0]]
        raise InputError(
            f"{file} has number {number} {counts_m[twice[0]]} times in frame {frame}: a person has one box in a frame"
            f" ({len(twice):,} such cases). Remove what is there twice."
        )


def _numbers(file: Path, number: int, line: str) -> list[float]:
    """The first eight values of a line.

    Raises:
        InputError: it is none of the format; says why.
    """
    try:
        values = [float(word) for word in line.rstrip().rstrip(",").split(",")]
    except ValueError:
        values = []
    if len(values) < 7 or not np.isfinite(values).all():
        raise InputError(f"{file}, line {number}: {shown(line.strip())} is not {COLUMNS}.")
    values = values[:8] if len(values) >= 8 else [*values, PEDESTRIAN]
    for problem in _problems(values):
        raise InputError(f"{file}, line {number}: {shown(line.strip())}: {problem}.")
    return values


def _problems(values: Sequence[float]) -> Iterator[str]:
    frame, who, *box = values[:6]
    if frame != int(frame) or frame < 1:
        yield f"frame {frame:g}, expected a whole number from 1"
    if who != int(who) or who < 0:
        yield f"id {who:g}, expected a whole number from 0 (detections without numbers are no truth)"
    if min(box[2:]) < 0:
        yield f"width and height {box[2]:g} x {box[3]:g}, expected none below 0"
    if max(abs(value) for value in values) > LARGEST:
        yield f"a value beyond {LARGEST:g}"


def mot_text(sightings: Sightings, scores_n: npt.ArrayLike) -> str:
    """MOTChallenge's lines of results: frame, id, left, top, width, height, score, -1, -1, -1."""
    scores = np.asarray(scores_n, np.float64)
    order = np.lexsort((sightings.ids_n, sightings.frames_n))
    lines = []
    for i in order:
        x0, y0, x1, y1 = sightings.boxes_xyxy_n4[i]
        box = f"{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f}"
        lines.append(f"{sightings.frames_n[i]},{sightings.ids_n[i]},{box},{scores[i]:.4f},-1,-1,-1\n")
    return "".join(lines)
