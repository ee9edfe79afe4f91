"""Truth files as they come, and scores against the definitions on random sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.search.tracks.idf1 import score_tracks, summed
from kd_yolo.search.tracks.mot import FORGIVING, FORGIVING_MOT20, Sightings, read_mot, read_truth
from tests.search.mot_reference import Line, random_lines, reference_scores

GOOD = "1,1,0,0,10,20,1,1,1\n2,1,0,0,10,20,1,1,1\n"


def as_sightings(tracks: list[Line]) -> Sightings:
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (line.box for line in tracks)]
    return Sightings.of([line.frame for line in tracks], [line.who for line in tracks], boxes)


@pytest.mark.parametrize("folder", ["MOT17-02", "MOT20-01"])
def test_scores_are_those_of_the_definitions(folder: str, tmp_path: Path) -> None:
    """300 random sequences: overlapping people, classes, flags, gaps, frames without boxes, numbers that change."""
    forgiving = FORGIVING_MOT20 if "MOT20" in folder else FORGIVING
    file = tmp_path / folder / "gt.txt"
    file.parent.mkdir()
    totals = dict.fromkeys(("right", "switches", "misses", "false"), 0)
    for seed in range(150):
        truth, tracks = random_lines(np.random.default_rng(seed + 1000 * ("MOT20" in folder)))
        file.write_text("".join(line.text() for line in truth))
        found, wanted = score_tracks(read_mot(file), as_sightings(tracks)), reference_scores(truth, tracks, forgiving)
        assert {name: getattr(found, name) for name in wanted} == wanted, f"seed {seed}"
        totals = {name: totals[name] + wanted[name] for name in totals}
    assert min(totals.values()) > 50, "the sequences try everything"


def test_videos_summed_are_their_boxes_added_up() -> None:
    rng = np.random.default_rng(5)
    parts = []
    for _ in range(3):
        truth, tracks = random_lines(rng)
        parts.append(score_tracks(as_sightings([line for line in truth if line.kind == 1]), as_sightings(tracks)))
    both = summed(parts)
    assert both.right == sum(part.right for part in parts)
    assert both.idf1 == pytest.approx(2 * both.right / (both.num_true + both.num_found))
    assert both.mota == pytest.approx(1 - (both.switches + both.misses + both.false) / both.num_true)
    assert (both.people, both.tracks) == (sum(p.people for p in parts), sum(p.tracks for p in parts))


@pytest.mark.parametrize(
    ("text", "counts", "forgives"),
    [
        (GOOD, [True, True], [False, False]),
        ("\ufeff" + GOOD, [True, True], [False, False]),
        (GOOD.replace("\n", "\r\n"), [True, True], [False, False]),
        ("1,1,0,0,10,20,1,-1,-1,-1\n", [True], [False]),
        ("1,1,0,0,10,20,0.7321,-1,-1,-1\n", [True], [False]),
        ("1,1,0,0,10,20,1,0,1\n", [True], [False]),
        ("1,1,0,0,10,20,1\n", [True], [False]),
        ("1,1,0,0,10,20,1,\n", [True], [False]),
        ("1, 1, 0, 0, 10, 20, 0, 1, 1\n1, 2, 0, 0, 10, 20, 1, 9, 1\n", [False, False], [True, False]),
        ("".join(f"1,{n},0,0,9,9,0,{n},1\n" for n in range(1, 14)), [False] * 13,
         [n in {1, 2, 7, 8, 12} for n in range(1, 14)]),
    ],
)  # fmt: skip
def test_which_lines_count_and_which_forgive(
    text: str, counts: list[bool], forgives: list[bool], tmp_path: Path
) -> None:
    (tmp_path / "gt.txt").write_bytes(text.encode())
    found = read_mot(tmp_path / "gt.txt")
    assert found.counts_n.tolist() == counts
    assert found.forgiving_n.tolist() == forgives


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to score by: none of its 0 lines"),
        ("\n\n", "nothing to score by"),
        ("1,1,0,0,10,20,0,1,1\n", "none of its 1 lines counts"),
        ("1,1,0,0,10,20,1,3,1\n", "nothing to score by"),
        (GOOD + "2,1,5,5,10,20,1,1,1\n", "has number 1 2 times in frame 2"),
        (GOOD + "3,1,nan,0,10,20,1,1,1\n", "line 3: .* is not frame,id"),
        (GOOD + "3,1,inf,0,10,20,1,1,1\n", "line 3"),
        (GOOD + "3,1,0,0,-10,20,1,1,1\n", "line 3: .* expected none below 0"),
        (GOOD + "0,1,0,0,10,20,1,1,1\n", "line 3: .* frame 0, expected a whole number from 1"),
        (GOOD + "1.5,1,0,0,10,20,1,1,1\n", "line 3: .* frame 1.5"),
        (GOOD + "1e30,1,0,0,10,20,1,1,1\n", "line 3: .* a value beyond"),
        (GOOD + "3,-1,0,0,10,20,1,1,1\n", "line 3: .* id -1"),
        (GOOD + "3,2.5,0,0,10,20,1,1,1\n", "line 3: .* id 2.5"),
        (GOOD + "3 1 0 0 10 20 1 1 1\n", "line 3"),
        (GOOD + "3;1;0;0;10;20;1;1;1\n", "line 3"),
        (GOOD + "frame,id,x,y,w,h,1\n", "line 3"),
        (GOOD + "x" * 100_000 + "\n", r"line 3: 'x+\.\.\. \(100000 characters\)"),
    ],
)
def test_what_is_wrong_with_a_truth_is_said(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_truth(tmp_path / "gt.txt")
    assert len(str(caught.value)) < 1000


def test_many_frames_cost_no_more_than_their_boxes(tmp_path: Path) -> None:
    """A frame number of a billion, and 5,000 frames: both were a pass over all boxes each."""
    lines = [f"{frame},1,0,0,10,20,1,1,1\n" for frame in (*range(1, 5001), 999_999_999)]
    (tmp_path / "gt.txt").write_text("".join(lines))
    truth = read_truth(tmp_path / "gt.txt")
    assert score_tracks(truth, truth).idf1 == 1.0


def test_a_match_goes_on_after_a_frame_without_boxes() -> None:
    """Track 5 still overlaps the person after frame 2, where no track is seen; a new one that fits better is false."""
    truth = Sightings.of([1, 2, 3], [1, 1, 1], [[0, 0, 10, 10]] * 3)
    found = Sightings.of([1, 3, 3], [5, 5, 6], [[0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 10]])
    scores = score_tracks(truth, found)
    assert (scores.switches, scores.misses, scores.false) == (0, 1, 1)
