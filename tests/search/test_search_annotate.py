"""Videos with drawings: as long as the original, drawn where the people are, whole or not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.search.tracks.annotate import Drawing, annotate_video
from kd_yolo.search.tracks.follow import Tracks, track_video
from tests.search.crops_helpers import write_images
from tests.search.track_helpers import tools, two_walk, write_two

GREY = np.full((96, 160, 3), 90, np.uint8)


@pytest.fixture
def tracks(tmp_path: Path) -> Tracks:
    return track_video(write_two(tmp_path / "in")[0], 1, tmp_path / "tracks", tools(), lambda line: None)


def read(video: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(video))
    return [image for ok, image in iter(capture.read, (False, None)) if ok]


def test_frames_and_rate_are_those_of_the_video(tracks: Tracks, tmp_path: Path) -> None:
    target = annotate_video(tracks, {number: number for number in tracks.numbers()}, tmp_path / "out é" / "a.mp4")
    images = read(target)
    assert len(images) == 20
    assert images[0].shape == (96, 160, 3)
    assert cv2.VideoCapture(str(target)).get(cv2.CAP_PROP_FPS) == 10
    assert [file.name for file in target.parent.iterdir()] == ["a.mp4"]
    drawn = np.abs(images[12].astype(int) - two_walk()[12]).max(2)
    assert drawn[60:90, :50].max() < 60 or drawn.max() > 60, "something is drawn"
    assert (drawn > 60).sum() > 50


def test_boxes_are_drawn_where_people_are() -> None:
    image = Drawing(10)(GREY, np.array([[20, 30, 60, 80]], float), np.array([1]))
    changed = np.abs(image.astype(int) - 90).max(2) > 0
    assert changed[50, 20]
    assert changed[50, 60]
    assert changed[80, 40]
    assert not changed[50, 40], "the inside stays as it is"
    assert not changed[:, 100:].any()


def test_a_person_has_one_colour_everywhere_and_others_have_another() -> None:
    colours = []
    for number in (3, 3, 4):
        image = Drawing(10)(GREY, np.array([[20, 30, 60, 80]], float), np.array([number]))
        colours.append(tuple(image[55, 20].tolist()))
    assert colours[0] == colours[1] != colours[2]


def test_the_frame_itself_is_not_drawn_on() -> None:
    before = GREY.copy()
    Drawing(10)(before, np.array([[20, 30, 60, 80]], float), np.array([1]))
    empty = Drawing(10)(before, np.empty((0, 4)), np.empty(0, int))
    assert np.array_equal(before, GREY)
    assert np.array_equal(empty, GREY)


def test_only_what_was_tracked_is_drawn(tracks: Tracks, tmp_path: Path) -> None:
    part = replace(tracks, num_frames=7)
    assert len(read(annotate_video(part, {number: 1 for number in tracks.numbers()}, tmp_path / "a.mp4"))) == 7


def test_images_of_several_sizes_make_one_film(tmp_path: Path) -> None:
    frames = two_walk(6)
    frames[3] = np.ascontiguousarray(cv2.resize(frames[3], (320, 192)))
    write_images(tmp_path / "frames", frames)
    found = track_video(str(tmp_path / "frames"), 1, tmp_path / "tracks", tools(), lambda line: None)
    persons = {number: number for number in found.numbers()}
    assert len(read(annotate_video(found, persons, tmp_path / "a.mp4"))) == 6


def test_a_video_that_is_gone_leaves_the_old_drawing(tracks: Tracks, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")
    Path(tracks.source).unlink()
    with pytest.raises(InputError, match="no such file"):
        annotate_video(tracks, {number: 1 for number in tracks.numbers()}, target)
    assert target.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*.part*"))
