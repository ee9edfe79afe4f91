"""The search behind the page, a match in its frame, and what is drawn and written about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("faiss", reason="needs the extra search")
pytest.importorskip("polars", reason="needs the extra search")

from kd_yolo.search.gallery.forget import CropFilter, forget
from kd_yolo.search.page.comparison import titles
from kd_yolo.search.page.draw import LONG_SIDE_PX, Shown, draw_classes, draw_match, draw_people
from kd_yolo.search.page.finder import Finder, Match, person_at
from kd_yolo.search.page.frames import show_match, source_name
from kd_yolo.search.page.text import clock, status, table
from tests.search.page_helpers import BLUE, GREEN, GREY, RED, empty_finder, fill, filled_finder, scene, turned_jpeg


@pytest.fixture
def finder(tmp_path: Path) -> Finder:
    return filled_finder(tmp_path)


def match_of(finder: Finder, colour: tuple[int, int, int], place: int = 0) -> Match:
    crop = finder.people(scene((90, colour)))[0]
    return finder.matches(crop.image_hw3, 10)[place]


def test_people_are_numbered_from_left_to_right(finder: Finder) -> None:
    people = finder.people(scene((200, GREEN), (30, RED)))
    assert [person.box_xyxy for person in people] == [(30, 60, 70, 180), (200, 60, 240, 180)]
    assert finder.people(scene()) == []


def test_matches_are_those_of_the_same_colour_first(finder: Finder) -> None:
    crop = finder.people(scene((90, RED)))[0]
    found = finder.matches(crop.image_hw3, 10)
    assert [match.row["camera"] for match in found[:2]] in ([1, 2], [2, 1])
    assert [match.distance for match in found] == sorted(match.distance for match in found)
    assert found[1].distance < 0.01 < 0.5 < found[2].distance
    assert len(finder.matches(crop.image_hw3, 2)) == 2
    middle = found[0].crop_hw3[60, 20]  # type: ignore[index]
    assert np.abs(middle.astype(int) - RED[::-1]).max() < 20


def test_an_empty_gallery_gives_no_match_and_follows_what_is_added(tmp_path: Path) -> None:
    finder = empty_finder(tmp_path / "gallery")
    crop = finder.people(scene((90, RED)))[0].image_hw3
    assert finder.matches(crop, 5) == []
    other = empty_finder(tmp_path / "gallery")
    fill(other, scene((10, RED)), source="a.png")
    assert len(finder.matches(crop, 5)) == 1


def test_a_lost_crop_is_no_reason_to_show_nothing(finder: Finder) -> None:
    for file in (finder.gallery.folder / "pictures").rglob("*.jpg"):
        file.write_bytes(b"lost")
    assert match_of(finder, RED).crop_hw3 is None


def test_a_forgotten_match_is_known_as_such(finder: Finder) -> None:
    match = match_of(finder, BLUE)
    assert finder.is_kept(match)
    forget(finder.gallery.folder, CropFilter(source=str(match.row["source"])))
    assert not finder.is_kept(match)


def test_a_image_is_shown_with_the_box(finder: Finder, tmp_path: Path) -> None:
    match = match_of(finder, GREEN)
    image, line = show_match(match)
    assert line == "hall 1.png, camera 1"
    assert image is not None
    assert image.shape == (600, 800, 3)
    np.testing.assert_allclose(image[300, 550], GREEN[::-1], atol=3)  # the person as it was
    assert np.abs(image[300, 125].astype(int) - np.array(RED[::-1]) * 0.62).max() < 3  # the other one darker


def test_a_video_is_shown_at_its_frame(finder: Finder) -> None:
    found = [match_of(finder, RED, place) for place in (0, 1)]
    match = next(match for match in found if match.row["camera"] == 2)
    image, line = show_match(match)
    assert line == "yard.avi, camera 2, 0:00.7 (frame 7)"
    assert image is not None
    red = np.flatnonzero(np.abs(image[300].astype(int) - RED[::-1]).max(axis=1) < 40)
    assert abs(red.min() / 2.5 - 70) < 3  # 10 pixels a frame: not the frame before or after


@pytest.mark.parametrize("off", [0, 1, -2])
def test_a_frame_is_counted_where_the_container_lies(finder: Finder, monkeypatch: pytest.MonkeyPatch, off: int) -> None:
    match = next(m for m in (match_of(finder, RED, 0), match_of(finder, RED, 1)) if m.row["camera"] == 2)
    expected, _ = show_match(match)

    class Wrong:
        """A container that finds no frame (0), or another one than it says."""

        def __init__(self, name: str) -> None:
            self.real, self.said = real(name), -1

        def get(self, what: int) -> float:
            return float(self.said if what == cv2.CAP_PROP_POS_FRAMES else self.real.get(what))

        def set(self, what: int, frame: int) -> bool:
            self.said = frame if off else -1
            return bool(off and self.real.set(what, frame + off))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Wrong)
    found, _ = show_match(match)
    np.testing.assert_array_equal(found, expected)


def test_without_the_source_the_crop_is_shown(finder: Finder) -> None:
    match = match_of(finder, BLUE)
    image, line = show_match(match)
    assert image is match.crop_hw3
    assert line == "gone.png, camera 3. The source is no longer here, or cannot be read: this is the crop."


def test_a_source_of_another_size_is_not_drawn_on(finder: Finder, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "hall 1.png"), scene()[:100, :100])
    image, line = show_match(match_of(finder, GREEN))
    assert "has changed" in line
    assert image is not None
    assert image.shape[0] < 200


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "/dev/zero", "/proc/self/environ", "rtsp://a:b@cam/1", "0", "", "\0"]
)
def test_a_row_opens_nothing_but_images_and_videos(finder: Finder, source: str) -> None:
    match = match_of(finder, BLUE)
    match.row["source"] = source
    assert show_match(match)[0] is match.crop_hw3


def test_a_text_that_is_called_a_image_or_video_is_not_shown(finder: Finder, tmp_path: Path) -> None:
    match = match_of(finder, BLUE)
    for name in ("a.png", "a.mp4", "a.avi"):
        (tmp_path / name).write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
        match.row["source"] = str(tmp_path / name)
        assert show_match(match)[0] is match.crop_hw3


def test_frames_of_turned_cameras_are_upright(finder: Finder, tmp_path: Path) -> None:
    file = tmp_path / "turned.jpg"
    file.write_bytes(turned_jpeg(scene((30, BLUE)), 6))
    match = match_of(finder, BLUE)
    match.row.update(source=str(file), x1=60, y1=30, x2=180, y2=70)
    image, _ = show_match(match)
    assert image is not None
    assert image.shape == (800, 600, 3)
    np.testing.assert_allclose(image[125, 300], BLUE[::-1], atol=10)


@pytest.mark.parametrize(
    ("source", "shown"),
    [("/home/me/secret place/cam 1.mp4", "cam 1.mp4"), ("C:\\films\\a.mp4", "a.mp4"), ("a/", "a"), ("0", "0"),
     ("rtsp://user:word@10.0.0.3:554/one?key=1", "stream at 10.0.0.3:554"), ("", ""), ("/", "/")],
)  # fmt: skip
def test_a_source_is_named_without_its_folder_and_password(source: str, shown: str) -> None:
    assert source_name({"source": source}) == shown


def test_the_smallest_person_at_a_point_is_meant(finder: Finder) -> None:
    people = finder.people(scene((30, RED), (200, GREEN)))
    assert person_at(people, 35, 70) == 0
    assert person_at(people, 239.5, 179) == 1
    assert person_at(people, 240, 179) is None
    large = [people[0].__class__(**{**vars(people[0]), "box_xyxy": (0, 0, 320, 240)}), *people]
    assert person_at(large, 35, 70) == 1
    assert person_at(large, 0, 0) == 0


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_images_are_shown_in_a_size_that_can_be_read(height: int, width: int) -> None:
    shown = Shown.of(np.broadcast_to(np.uint8(7), (height, width, 3)))
    longer = max(shown.image_hw3.shape)
    assert longer <= LONG_SIDE_PX
    assert longer >= min(800, 4 * max(height, width)) - 1
    assert shown.image_hw3.min() == shown.image_hw3.max() == 7


@given(st.lists(st.tuples(*[st.integers(-50, 400)] * 4), max_size=4), st.integers(1, 60), st.integers(1, 60))
def test_boxes_anywhere_can_be_drawn(boxes: list[Any], height: int, width: int) -> None:
    shown = Shown.of(np.full((height, width, 3), GREY, np.uint8))
    before = shown.image_hw3.copy()
    assert draw_people(shown, boxes, 0).shape == before.shape
    assert draw_classes(shown, np.array(boxes).reshape(-1, 4), [k for k, _ in enumerate(boxes)], {0: "dĕg"}).any()
    assert draw_match(shown, (0, 0, width, height)).shape == before.shape
    np.testing.assert_array_equal(shown.image_hw3, before)


def test_the_chosen_person_looks_different() -> None:
    shown, boxes = Shown.of(scene((30, RED), (200, GREEN))), [(30, 60, 70, 180), (200, 60, 240, 180)]
    first, second = draw_people(shown, boxes, 0), draw_people(shown, boxes, 1)
    assert np.abs(first.astype(int) - second).max() > 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "\N{EN DASH}"), (0, "0:00.0"), (13.44, "0:13.4"), (59.96, "1:00.0"), (3723.45, "1:02:03.4"),
     (3599.99, "1:00:00.0")],
)  # fmt: skip
def test_times_are_read_as_on_a_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_what_others_named_is_escaped() -> None:
    nasty = "<img src=x onerror=alert(1)>\"'&.png"
    for made in (status(nasty), table(nasty, (nasty,), [(nasty,)])):
        assert "<img" not in made
        assert "&lt;img" in made
    assert table("none", ("a",), []) == ""


def test_models_are_named_as_short_as_tells_them_apart() -> None:
    assert titles([Path("a/teacher.pt"), Path("b/pruned.pt")]) == ["teacher", "pruned"]
    assert titles([Path("x/a/weights/best.pt"), Path("x/b/weights/best.pt")]) == ["a/weights/best", "b/weights/best"]
    assert titles([Path("a.pt"), Path("a.pt")]) == ["1: a", "2: a"]


def test_very_large_images_are_kept_smaller() -> None:
    pytest.importorskip("gradio", reason="needs the extra ui")
    from kd_yolo.search.page.compare_tab import KEPT_PX, shrink_to_keep

    small = scene((30, RED))
    assert shrink_to_keep(small) is small
    assert shrink_to_keep(np.zeros((2 * KEPT_PX, 100, 3), np.uint8)).shape == (KEPT_PX, 50, 3)
    assert shrink_to_keep(np.zeros((1, 9 * KEPT_PX, 3), np.uint8)).shape == (1, KEPT_PX, 3)
