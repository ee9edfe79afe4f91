"""Boxes with numbers over time, and MOTChallenge's text files of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd_yolo.errors import InputError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
PEDESTRIAN = 1
COLUMNS = "frame,id,left,top,width,height,flag,class,visibility"


@dataclass(frozen=True)
class Sightings:
    """Who is where in which frame.

    Attributes:
        frames_n: number of the frame, from 1 as in the files.
        ids_n: number of the person or track.
        boxes_xyxy_n4: corners in pixels.
        counts_n: False for a box that neither counts as missed nor makes a box on it false.
    """

    frames_n: Ints
    ids_n: Ints
    boxes_xyxy_n4: Floats
    counts_n: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, frames: Sequence[int] | Ints, ids: Sequence[int] | Ints, boxes_xyxy_n4: npt.ArrayLike) -> Sightings:
        """All of them count."""
        boxes = np.asarray(boxes_xyxy_n4, np.float64).reshape(-1, 4)
        return cls(np.asarray(frames, np.int64), np.asarray(ids, np.int64), boxes, np.ones(len(boxes), bool))

    def __len__(self) -> int:
        return len(self.frames_n)

    def where(self, mask_n: npt.NDArray[np.bool_]) -> Sightings:
        """Some of them."""
        return Sightings(self.frames_n[mask_n], self.ids_n[mask_n], self.boxes_xyxy_n4[mask_n], self.counts_n[mask_n])


def joined(parts: Sequence[Sightings], lengths: Sequence[int]) -> Sightings:
    """The sightings of several cameras as one film after the other: a number is one person in all of them.

    Args:
        parts: of each camera.
        lengths: number of frames of each.
    """
    starts = np.cumsum([0, *lengths[:-1]])
    frames = [part.frames_n + start for part, start in zip(parts, starts, strict=True)]
    ids, boxes, counts = ([getattr(part, name) for part in parts] for name in ("ids_n", "boxes_xyxy_n4", "counts_n"))
    return Sightings(np.concatenate(frames), np.concatenate(ids), np.concatenate(boxes), np.concatenate(counts))


def read_mot(file: Path) -> Sightings:
    """Reads the truth about a video.

    Args:
        file: lines ``frame,id,left,top,width,height,flag,class,visibility``, the last two may be missing; flag 0 and
            classes other than 1 (pedestrian) do not count.

    Raises:
        InputError: no such file, or a line that is none of this format.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file. The truth of a video has lines {COLUMNS}.")
    rows = [_numbers(file, number, line) for number, line in enumerate(_lines(file), 1) if line.strip()]
    table_n8 = np.array(rows, np.float64).reshape(-1, 8)
    corners_n4 = np.column_stack([table_n8[:, 2:4], table_n8[:, 2:4] + table_n8[:, 4:6]])
    counts_n = (table_n8[:, 6] != 0) & (table_n8[:, 7] == PEDESTRIAN)
    return Sightings(table_n8[:, 0].astype(np.int64), table_n8[:, 1].astype(np.int64), corners_n4, counts_n)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file} is no text file. The truth of a video has lines {COLUMNS}.") from None


def _numbers(file: Path, number: int, line: str) -> list[float]:
    try:
        values = [float(word) for word in line.split(",")]
    except ValueError:
        values = []
    if len(values) < 7 or not np.isfinite(values).all():
        raise InputError(f"{file}, line {number}: {line.strip()!r} is not {COLUMNS}.")
    return values[:8] if len(values) >= 8 else [*values, PEDESTRIAN]


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
