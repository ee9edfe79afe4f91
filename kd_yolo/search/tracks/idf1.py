"""How well tracks keep to people: IDF1 and what it is made of, identity switches, misses and false boxes.

References:
    Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCV workshops 2016
    (IDF1, IDP, IDR); Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: the CLEAR MOT
    metrics, 2008 (switches, misses, false boxes, MOTA).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from kd_yolo.base.extras import require
from kd_yolo.geometry.boxes import iou_matrix
from kd_yolo.search.tracks.mot import Sightings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pairs = tuple[Ints, Ints, Floats]
IOU_MIN = 0.5
ROUNDING = float(np.finfo(np.float64).eps)  # an overlap of exactly one half may come out a bit below


@dataclass(frozen=True)
class TrackScores:
    """Quality of tracks.

    Attributes:
        idf1: F1 of the two below.
        idp: precision, the share of the tracks' boxes that belong to the right person.
        idr: recall, the share of the true boxes that the right track has; both under the best one-to-one assignment
            of tracks to people.
        switches: how often a person goes on under another track.
        misses: true boxes without a track's box.
        false: boxes of tracks where nobody is.
        mota: 1 - (switches + misses + false) / true boxes.
        num_true, num_found: boxes.
        people, tracks: different numbers.
        right: boxes that belong to the right person (IDTP).
    """

    idf1: float
    idp: float
    idr: float
    switches: int
    misses: int
    false: int
    mota: float
    num_true: int
    num_found: int
    people: int
    tracks: int
    right: int = 0

    def as_dict(self) -> dict[str, float | int]:
        """For a JSON file."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def score_tracks(truth: Sightings, found: Sightings, *, iou_min: float = IOU_MIN) -> TrackScores:
    """Compares tracks with the truth.

    Args:
        truth: people; several cameras go through :func:`kd_yolo.search.tracks.mot.joined` before.
        found: tracks.
        iou_min: least overlap of a track's box with the person's.
    """
    found = _without_ignored(truth, found, iou_min)
    truth = truth.where(truth.counts_n)
    pairs = _pairs(truth, found, iou_min)
    right = _right_boxes(truth, found, pairs)
    switches, matched = _clear(truth, found, pairs)
    return _scores(
        right=right, switches=switches, misses=len(truth) - matched, false=len(found) - matched,
        num_true=len(truth), num_found=len(found), people=len(np.unique(truth.ids_n)),
        tracks=len(np.unique(found.ids_n)),
    )  # fmt: skip


def summed(scores: Sequence[TrackScores]) -> TrackScores:
    """Scores of videos that have nothing to do with each other, as one: their boxes are added up.

    A number means another person in each video; so TrackEval's row COMBINED is made.
    """
    names = ("right", "switches", "misses", "false", "num_true", "num_found", "people", "tracks")
    return _scores(**{name: sum(getattr(score, name) for score in scores) for name in names})


def _scores(**counts: int) -> TrackScores:
    """Scores from counts, see :class:`TrackScores`."""
    errors = counts["switches"] + counts["misses"] + counts["false"]
    return TrackScores(
        idf1=_share(2 * counts["right"], counts["num_true"] + counts["num_found"]),
        idp=_share(counts["right"], counts["num_found"]), idr=_share(counts["right"], counts["num_true"]),
        mota=1 - _share(errors, counts["num_true"]), **counts,
    )  # fmt: skip


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _frames(truth: Sightings, found: Sightings) -> Iterator[tuple[Ints, Ints]]:
    """Positions of the true and of the found boxes of each frame that has either, in order of time."""
    every = np.union1d(truth.frames_n, found.frames_n)
    yield from zip(_places(truth, every), _places(found, every), strict=True)


def _places(sightings: Sightings, frames: Ints) -> Iterator[Ints]:
    """Positions of the boxes of each frame; one sort, however many frames there are."""
    order = np.argsort(sightings.frames_n, kind="stable")
    ordered = sightings.frames_n[order]
    starts, ends = np.searchsorted(ordered, frames), np.searchsorted(ordered, frames, side="right")
    return (order[start:end] for start, end in zip(starts, ends, strict=True))


def _assigned(gain_nm: Floats) -> Iterator[tuple[int, int]]:
    """One-to-one assignment with the largest sum; pairs without gain are left out."""
    assign = require("scipy.optimize").linear_sum_assignment
    for row, column in zip(*assign(gain_nm, maximize=True), strict=True):
        if gain_nm[row, column] > 0:
            yield int(row), int(column)


def _without_ignored(truth: Sightings, found: Sightings, iou_min: float) -> Sightings:
    """The tracks without the boxes that match a true box which forgives them."""
    forgiving_n, kept = truth.forgiving_n, np.ones(len(found), bool)
    for of_truth, of_found in _frames(truth, found):
        iou = iou_matrix(truth.boxes_xyxy_n4[of_truth], found.boxes_xyxy_n4[of_found])
        for row, column in _assigned(np.where(iou >= iou_min - ROUNDING, iou, 0.0)):
            kept[of_found[column]] = not forgiving_n[of_truth[row]]
    return found.where(kept)


def _pairs(truth: Sightings, found: Sightings, iou_min: float) -> list[Pairs]:
    """Of each frame: positions of true and found boxes, and their overlap, 0 where it is too small."""
    pairs = []
    for of_truth, of_found in _frames(truth, found):
        iou = iou_matrix(truth.boxes_xyxy_n4[of_truth], found.boxes_xyxy_n4[of_found])
        pairs.append((of_truth, of_found, np.where(iou >= iou_min - ROUNDING, iou, 0.0)))
    return pairs


def _right_boxes(truth: Sightings, found: Sightings, pairs: list[Pairs]) -> int:
    """IDTP: boxes that fit under the best assignment of tracks to people over the whole time."""
    people, tracks = np.unique(truth.ids_n), np.unique(found.ids_n)
    together = np.zeros((len(people), len(tracks)))
    for of_truth, of_found, iou in pairs:
        rows, columns = np.nonzero(iou)
        who = np.searchsorted(people, truth.ids_n[of_truth[rows]])
        np.add.at(together, (who, np.searchsorted(tracks, found.ids_n[of_found[columns]])), 1)
    return int(sum(together[pair] for pair in _assigned(together)))


def _clear(truth: Sightings, found: Sightings, pairs: list[Pairs]) -> tuple[int, int]:
    """Switches and matched boxes, frame by frame: who was matched before stays so while the boxes overlap.

    A frame without true boxes, or without found ones, says nothing: what was matched before it still goes on after it.
    """
    last: dict[int, int] = {}
    current: dict[int, int] = {}
    switches = matched = 0
    for of_truth, of_found, iou in pairs:
        if not iou.size:
            continue
        who, track = truth.ids_n[of_truth], found.ids_n[of_found]
        goes_on = np.array([[current.get(int(a)) == int(b) for b in track] for a in who], bool).reshape(iou.shape)
        # A pair that goes on outweighs any number of new ones, whose overlaps are at most 1 each.
        gain = np.where((iou > 0) & goes_on, iou + len(of_truth) + len(of_found), iou)
        current = {int(who[row]): int(track[column]) for row, column in _assigned(gain)}
        matched += len(current)
        switches += sum(person in last and last[person] != number for person, number in current.items())
        last |= current
    return switches, matched
