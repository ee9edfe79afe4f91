"""IDF1 by trying every assignment, CLEAR MOT by its definition, and the text files that both read."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import InputError
from kd_yolo.search.tracks.idf1 import score_tracks
from kd_yolo.search.tracks.mot import Sightings, joined, mot_text, read_mot

SLOTS = 4  # places of 10 x 10 pixels that never overlap


def boxes_at(slots: list[int], shift: float = 0.0) -> list[list[float]]:
    return [[20 * slot + shift, 0, 20 * slot + shift + 10, 10] for slot in slots]


def sightings(rows: list[tuple[int, int, int]], shift: float = 0.0) -> Sightings:
    """From (frame, id, slot)."""
    return Sightings.of([r[0] for r in rows], [r[1] for r in rows], boxes_at([r[2] for r in rows], shift))


@st.composite
def scenes(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """A few frames with different people in different slots."""
    rows = []
    for frame in range(1, draw(st.integers(1, 5)) + 1):
        slots = draw(st.permutations(range(SLOTS)))
        number = draw(st.integers(0, 3))
        people = draw(st.permutations(range(1, 5)))
        rows += [(frame, people[i], slots[i]) for i in range(number)]
    return rows


def naive_idtp(truth: list[tuple[int, int, int]], found: list[tuple[int, int, int]]) -> int:
    """The most boxes that are right under any one-to-one assignment of tracks to people."""
    people, tracks = range(1, 5), range(1, 5)
    at = {(frame, slot): who for frame, who, slot in found}
    best = 0
    for order in permutations(tracks):
        chosen = dict(zip(people, order, strict=True))
        best = max(best, sum(at.get((frame, slot)) == chosen[who] for frame, who, slot in truth))
    return best


def naive_switches(truth: list[tuple[int, int, int]], found: list[tuple[int, int, int]]) -> int:
    """With slots apart there is one candidate a box, so matching is no choice."""
    at, last, switches = {(frame, slot): who for frame, who, slot in found}, dict[int, int](), 0
    for frame, who, slot in sorted(truth):
        track = at.get((frame, slot))
        if track is not None:
            switches += last.get(who, track) != track
            last[who] = track
    return switches


@settings(max_examples=60, deadline=None)
@given(scenes(), scenes())
def test_against_every_assignment(truth: list[tuple[int, int, int]], found: list[tuple[int, int, int]]) -> None:
    scores = score_tracks(sightings(truth), sightings(found, shift=1.0))
    right = naive_idtp(truth, found)
    both = len({(f, s) for f, _, s in truth} & {(f, s) for f, _, s in found})
    assert scores.idf1 == pytest.approx(2 * right / (len(truth) + len(found)) if truth or found else 0)
    assert scores.idp == pytest.approx(right / len(found) if found else 0)
    assert scores.idr == pytest.approx(right / len(truth) if truth else 0)
    assert scores.switches == naive_switches(truth, found)
    assert (scores.misses, scores.false) == (len(truth) - both, len(found) - both)
    errors = scores.switches + scores.misses + scores.false
    assert scores.mota == pytest.approx(1 - errors / len(truth) if truth else 1)


@settings(max_examples=30, deadline=None)
@given(scenes(), st.permutations(range(1, 5)))
def test_numbers_of_tracks_do_not_matter(truth: list[tuple[int, int, int]], order: list[int]) -> None:
    renamed = [(frame, order[who - 1] + 50, slot) for frame, who, slot in truth]
    scores = score_tracks(sightings(truth), sightings(renamed))
    assert scores.idf1 == (1.0 if truth else 0.0)
    assert (scores.switches, scores.misses, scores.false) == (0, 0, 0)


def test_half_a_way_under_another_number() -> None:
    truth = sightings([(frame, 1, 0) for frame in range(1, 11)])
    found = sightings([(frame, 1 if frame <= 6 else 2, 0) for frame in range(1, 11)])
    scores = score_tracks(truth, found)
    assert (scores.idf1, scores.idp, scores.idr, scores.switches, scores.mota) == (0.6, 0.6, 0.6, 1, 0.9)


def test_idf1_sees_who_goes_on_as_somebody_else_though_nobody_switches() -> None:
    truth = sightings([(1, 1, 0), (2, 1, 0), (3, 2, 1), (4, 2, 1)])
    found = sightings([(1, 9, 0), (2, 9, 0), (3, 9, 1), (4, 9, 1)])
    assert (score_tracks(truth, found).switches, score_tracks(truth, found).idf1) == (0, 0.5)


def test_who_was_matched_before_stays_matched() -> None:
    """CLEAR MOT: the old track keeps its person while it overlaps enough, though a new one fits better."""
    truth = Sightings.of([1, 2], [1, 1], [[0, 0, 10, 10], [0, 0, 10, 10]])
    found = Sightings.of([1, 2, 2], [5, 5, 6], [[0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 10]])
    scores = score_tracks(truth, found)
    assert (scores.switches, scores.misses, scores.false) == (0, 0, 1)


@pytest.mark.parametrize(("height", "is_right"), [(5.0, True), (4.9, False)])
def test_overlap_counts_from_one_half(height: float, is_right: bool) -> None:
    truth = Sightings.of([1], [1], [[0, 0, 10, 10]])
    scores = score_tracks(truth, Sightings.of([1], [1], [[0, 0, 10, height]]))
    assert scores.idf1 == float(is_right)


def test_boxes_to_be_ignored_neither_help_nor_harm() -> None:
    truth = sightings([(1, 1, 0), (1, 2, 1)])
    truth = Sightings(truth.frames_n, truth.ids_n, truth.boxes_xyxy_n4, np.array([True, False]))
    one, both = sightings([(1, 1, 0)]), sightings([(1, 1, 0), (1, 2, 1)])
    assert score_tracks(truth, one) == score_tracks(truth, both)
    assert score_tracks(truth, both).false == 0
    assert score_tracks(truth, sightings([(1, 1, 0), (1, 2, 3)])).false == 1


def test_nothing_found_and_nothing_there() -> None:
    truth, nothing = sightings([(1, 1, 0)]), sightings([])
    assert (score_tracks(truth, nothing).idf1, score_tracks(truth, nothing).misses) == (0.0, 1)
    assert (score_tracks(nothing, truth).idf1, score_tracks(nothing, truth).false) == (0.0, 1)


def test_cameras_are_joined_frame_after_frame() -> None:
    first, second = sightings([(1, 1, 0), (5, 2, 0)]), sightings([(1, 1, 3)])
    both = joined([first, second], [8, 4])
    assert both.frames_n.tolist() == [1, 5, 9]
    assert both.ids_n.tolist() == [1, 2, 1]
    scores = score_tracks(both, joined([first, sightings([(1, 7, 3)])], [8, 4]))
    assert scores.idf1 == pytest.approx(2 / 3), "the person has another number in the second camera"


def test_files_are_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "truth å.csv"
    file.write_text("2,1,5,5,10,20,1,1,0.9\n1,1,0,0,10,20,1,1,1\n1,2,30,0,10,20,0,1,0.1\n1,3,30,0,10,20,1,3,1\n\n")
    found = read_mot(file)
    assert found.boxes_xyxy_n4[0].tolist() == [5, 5, 15, 25]
    assert found.counts_n.tolist() == [True, True, False, False], "flag 0, and a car"
    text = mot_text(found, [0.5, 0.25, 1, 1])
    assert text.splitlines()[0] == "1,1,0.00,0.00,10.00,20.00,0.2500,-1,-1,-1"
    assert text.splitlines()[-1].startswith("2,1,5.00,5.00")


def test_rows_of_seven_numbers_are_people(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,1,0,0,10,20,1\n")
    assert read_mot(tmp_path / "a.txt").counts_n.tolist() == [True]


@pytest.mark.parametrize("line", ["1,2,3", "frame,id,x,y,w,h,1", "1,1,0,0,nan,10,1"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.csv").write_text(f"1,1,0,0,10,20,1\n{line}\n")
    with pytest.raises(InputError, match=r"a.csv, line 2: .* is not frame,id,left,top"):
        read_mot(tmp_path / "a.csv")


def test_files_that_are_no_truth(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file. The truth of a video has lines frame,id"):
        read_mot(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xd8\xff\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_mot(tmp_path / "a.csv")
