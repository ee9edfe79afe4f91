"""The built-in film: who walks where, that nobody is at two places at once, and that it is always the same."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.builtin.clip_set import ClipReport, clip_views, make_clip, truth_lines
from kd_yolo.builtin.presets import get_clip_preset, get_crops_preset, get_preset, preset_names
from kd_yolo.builtin.street.clip import FIRST_CAMERA, View, draw_view
from kd_yolo.builtin.street.identity import FAMILY_SIZE, make_identity
from kd_yolo.builtin.street.pose import Pose
from kd_yolo.builtin.street.render import Frame
from kd_yolo.builtin.street.walk import Walk, actor_at, half_width_m, keeps_clear
from kd_yolo.cli.data import main

SMOKE, DEMO = get_clip_preset("smoke"), get_clip_preset("demo")
GOLDEN = Path(__file__).with_name("golden_clip.json")
CORNER = Walk(7, (1.0, 3.0, 5.0, 6.0), ((0.0, 10.0), (4.0, 10.0), (4.0, 10.0), (4.0, 8.0)), Pose())


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> ClipReport:
    """The smoke preset, drawn once; tests must not write to it."""
    return make_clip(tmp_path_factory.mktemp("clip") / "smoke", "smoke")


@pytest.fixture(scope="module")
def demo_views() -> list[View]:
    """The plan of the demo preset; nothing is drawn."""
    return clip_views(DEMO, 0)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """The first frames of the second camera."""
    return list(islice(draw_view(clip_views(SMOKE, 0)[1], SMOKE.frames, SMOKE.fps, 0), 12))


def visits(views: list[View]) -> dict[int, list[tuple[int, Walk]]]:
    """Of each person: cameras and walks in order of time."""
    found = defaultdict(list)
    for place, view in enumerate(views):
        for walk in view.walks:
            found[walk.person].append((place, walk))
    return {person: sorted(walks, key=lambda item: item[1].times_s[0]) for person, walks in found.items()}


def truth_of(file: Path) -> list[list[float]]:
    with file.open() as stream:
        return [[float(word) for word in row] for row in csv.reader(stream)]


def test_golden_frames(frames: list[Frame]) -> None:
    """Decoded values. A change here needs a higher VERSION in kd_yolo/builtin/clip_set.py."""
    golden = json.loads(GOLDEN.read_text())
    lines = [line for index in (0, 11) for line in truth_lines(frames[index], index, SMOKE)]
    expected = np.array([line.split(",") for line in golden["truth"]], float)
    # A pixel on an edge of the box may change sides between versions of OpenCV.
    np.testing.assert_allclose(np.array([line.split(",") for line in lines], float), expected, atol=2.0)
    for index, blocks in zip((0, 11), golden["blocks"], strict=True):
        small = cv2.resize(frames[index].image.astype(np.float32), (8, 6), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(small, blocks, atol=6.0)


def test_a_frame_depends_on_its_number_only(frames: list[Frame]) -> None:
    again = list(islice(draw_view(clip_views(SMOKE, 0)[1], SMOKE.frames, SMOKE.fps, 0), 5))
    assert all(np.array_equal(a.image, b.image) and a.objects == b.objects for a, b in zip(again, frames, strict=False))
    other = next(draw_view(clip_views(SMOKE, 1)[1], SMOKE.frames, SMOKE.fps, 1))
    assert not np.array_equal(other.image, frames[0].image)


def test_a_walk_follows_its_corners() -> None:
    assert CORNER.spot(2.0) == (2.0, 10.0)
    assert CORNER.spot(0.0) == (0.0, 10.0)
    assert CORNER.spot(4.0) == (4.0, 10.0)
    assert CORNER.spot(9.0) == (4.0, 8.0)
    assert [CORNER.way_m(time) for time in (1.0, 2.0, 4.0, 6.0)] == [0.0, 2.0, 4.0, 6.0]


def test_people_face_where_they_go() -> None:
    assert CORNER.heading(2.0) == pytest.approx(np.pi / 2)  # to the right
    assert CORNER.heading(4.0) == pytest.approx(np.pi / 2)  # a pause keeps the direction
    assert CORNER.heading(5.5) == pytest.approx(0.0)  # to the camera


def test_steps_fit_the_way_and_pauses_stand() -> None:
    view, who = clip_views(SMOKE, 0)[0], make_identity(0, 7)
    cycle_m = 4 * CORNER.pose.stride * 0.46 * who.height_m
    for time_s, kind in ((2.0, "walk"), (4.0, "stand"), (5.5, "walk")):
        actor = actor_at(CORNER, who, time_s, view.camera, 0.025)
        assert actor is not None
        assert actor.look.pose.kind == kind
        assert actor.look.pose.phase == pytest.approx(2 * np.pi * CORNER.way_m(time_s) / cycle_m)
    assert actor_at(CORNER, who, 0.9, view.camera, 0.025) is None
    assert actor_at(CORNER, who, 6.1, view.camera, 0.025) is None


def test_a_way_around_things_keeps_clear() -> None:
    assert keeps_clear(CORNER, [(2.0, 12.0, 1.0)])
    assert not keeps_clear(CORNER, [(2.0, 10.5, 1.0)])


def test_nobody_is_at_two_places_at_once(demo_views: list[View]) -> None:
    for walks in visits(demo_views).values():
        assert all(a.end_s < b.times_s[0] for (_, a), (_, b) in pairwise(walks))


def test_everybody_comes_and_most_pass_several_cameras_and_come_back(demo_views: list[View]) -> None:
    found = visits(demo_views)
    assert set(found) == set(DEMO.identity_range)
    cameras = [[place for place, _ in walks] for walks in found.values()]
    assert np.mean([len(set(places)) > 1 for places in cameras]) > 0.7
    assert any(len(places) > len(set(places)) for places in cameras), "somebody sees a camera twice"


def test_people_come_in_from_beside_the_image(demo_views: list[View]) -> None:
    for view in demo_views:
        for x, z in (walk.spots[end] for walk in view.walks for end in (0, -1)):
            assert abs(x) > half_width_m(view.camera, z) - 0.4  # a companion walks up to 0.7 m aside
            assert view.camera.depth_range_m[0] < z < view.camera.depth_range_m[1]


def test_cameras_differ_and_are_of_no_other_set(demo_views: list[View]) -> None:
    cameras = [view.camera for view in demo_views]
    assert all(camera.id >= FIRST_CAMERA for camera in cameras)
    assert len({camera.gain for camera in cameras}) == len({camera.noise for camera in cameras}) == DEMO.cameras
    others = [get_preset(name).cameras for name in preset_names()]
    assert max([*others, *(get_crops_preset(name).cameras for name in preset_names())]) < FIRST_CAMERA


@pytest.mark.parametrize("name", preset_names())
def test_nobody_is_of_another_set(name: str) -> None:
    people = get_clip_preset(name).identity_range
    assert people.start % FAMILY_SIZE == 0, "families are not shared either"
    others = [get_preset(other).identity_range("test").stop for other in preset_names()]
    others += [get_crops_preset(other).identity_range("distractors").stop for other in preset_names()]
    assert max(others) <= people.start - FAMILY_SIZE
    assert people.stop < 1_000_000, "posters"


def test_people_cross_and_hide_each_other(smoke: ClipReport) -> None:
    table = np.array([row for file in smoke.truths for row in truth_of(file)])
    visible = table[:, 8]
    assert ((visible > 0.25) & (visible < 0.7)).sum() > 5
    assert (visible > 0.95).sum() > 20
    assert set(table[:, 6]) == {0, 1}
    assert set(table[:, 7]) == {1}


def test_the_truth_is_that_of_the_frames(smoke: ClipReport, frames: list[Frame]) -> None:
    rows = [row for row in truth_of(smoke.truths[1]) if row[0] == 9]
    people = [truth for truth in frames[8].objects if truth.class_name == "person" and truth.visible_share > 0]
    assert [row[1] - 1 + SMOKE.identity_range.start for row in rows] == [truth.identity for truth in people]
    for row, truth in zip(rows, people, strict=True):
        x0, y0, x1, y1 = truth.visible_xyxy
        assert row[2:6] == [x0, y0, x1 - x0, y1 - y0]
        assert row[8] == pytest.approx(truth.visible_share, abs=1e-4)


def test_films_hold_the_frames(smoke: ClipReport, frames: list[Frame]) -> None:
    assert [video.name for video in smoke.videos] == ["cam1.mp4", "cam2.mp4"]
    assert smoke.images == {"cam1": SMOKE.frames, "cam2": SMOKE.frames}
    capture = cv2.VideoCapture(str(smoke.videos[1]))
    decoded = [image for ok, image in iter(capture.read, (False, None)) if ok]
    assert len(decoded) == SMOKE.frames
    assert capture.get(cv2.CAP_PROP_FPS) == SMOKE.fps
    assert np.abs(decoded[8].astype(float) - frames[8].image).mean() < 12


def test_the_header_counts(smoke: ClipReport) -> None:
    counted = {f"cam{n}": sum(row[6] == 1 for row in truth_of(file)) for n, file in enumerate(smoke.truths, 1)}
    assert smoke.boxes == counted
    assert smoke.people == len({row[1] for file in smoke.truths for row in truth_of(file) if row[6] == 1})


def test_an_equal_clip_is_reused_and_another_needs_force(smoke: ClipReport) -> None:
    again = make_clip(smoke.folder, "smoke")
    assert (again.reused, again.videos, again.boxes) == (True, smoke.videos, smoke.boxes)
    with pytest.raises(ConfigError, match=r"another clip set.*seed 0.*asked for: preset smoke, seed 3.*--force"):
        make_clip(smoke.folder, "smoke", seed=3)


def test_an_incomplete_clip_is_not_reused(smoke: ClipReport, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(smoke.folder, tmp_path / "clip"))
    (folder / "cam1.mp4").unlink()
    with pytest.raises(ConfigError, match="incomplete"):
        make_clip(folder, "smoke")


def test_progress_and_an_interrupted_run(tmp_path: Path) -> None:
    seen = []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_clip(tmp_path / "clip", "smoke", progress=interrupt)
    assert seen == [(done, SMOKE.frames * SMOKE.cameras) for done in (1, 2, 3)]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_preset_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'smok'. Did you mean 'smoke'\?"):
        make_clip(tmp_path / "clip", "smok")


def test_the_command_says_what_comes_next(smoke: ClipReport, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make", "clip", "--preset", "smoke", "--out", str(smoke.folder)]) == 0
    out = capsys.readouterr().out
    assert f"already there: {smoke.folder} (cam1 36, cam2 36)" in out
    assert f"next: kd-yolo search track {smoke.folder}/cam*.mp4 --truth {smoke.folder}/cam*.csv" in out
