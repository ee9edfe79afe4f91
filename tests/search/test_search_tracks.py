"""Tracks of a video: numbers, crops, vectors and files; runs that are interrupted, repeated or changed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars
import pytest
import yaml
from ultralytics.trackers.track import TRACKER_MAP

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.tracker import tracker_settings
from kd_yolo.search.frames.frame_types import Frame, People
from kd_yolo.search.tracks import follow as module
from kd_yolo.search.tracks.best_crops import BestCrops, covered
from kd_yolo.search.tracks.files import read_tracks
from kd_yolo.search.tracks.follow import Tracks, track_video
from kd_yolo.search.tracks.idf1 import score_tracks
from kd_yolo.search.tracks.mot import read_mot
from kd_yolo.search.tracks.rules import TrackRules
from kd_yolo.search.tracks.settings import least_score, settings_of
from kd_yolo.yolo.track import Follower
from tests.search.crops_helpers import image_of, write_images, write_video
from tests.search.track_helpers import tools, truth_text, two_walk, write_two


@pytest.fixture
def video(tmp_path: Path) -> str:
    return write_two(tmp_path / "filme ü")[0]


def follow(video: str, folder: Path, **rules: object) -> tuple[Tracks, list[str]]:
    said: list[str] = []
    return track_video(video, 1, folder, tools(**rules), said.append), said


def test_two_people_are_two_tracks(video: str, tmp_path: Path) -> None:
    found, _ = follow(video, tmp_path / "out")
    assert len(found.numbers()) == 2
    assert (found.num_frames, found.fps, found.whole) == (20, 10.0, True)
    scores = score_tracks(read_mot(Path(video).with_suffix(".csv")), found.sightings)
    assert scores.idf1 == pytest.approx(1.0, abs=0.03)
    assert scores.switches == 0


def test_what_is_written_says_the_same(video: str, tmp_path: Path) -> None:
    found, _ = follow(video, tmp_path / "out")
    table = polars.read_parquet(tmp_path / "out" / "tracks.parquet")
    assert table.columns == ["source", "camera", "frame", "seconds", "track", "x1", "y1", "x2", "y2", "score"]
    assert len(table) == len(found.sightings)
    assert table["seconds"].to_list() == pytest.approx((table["frame"] / 10).to_list(), abs=0.02)
    text = read_mot(tmp_path / "out" / "tracks.txt")
    assert sorted(zip(text.frames_n, text.ids_n, strict=True)) == sorted(
        zip(found.sightings.frames_n, found.sightings.ids_n, strict=True)
    )
    again = read_tracks(tmp_path / "out")
    np.testing.assert_array_equal(again.sightings.boxes_xyxy_n4, found.sightings.boxes_xyxy_n4)
    np.testing.assert_array_equal(again.vectors_td, found.vectors_td)
    assert (again.source, again.network, again.numbers()) == (video, "colour", found.numbers())


def test_crops_are_of_their_track(video: str, tmp_path: Path) -> None:
    found, _ = follow(video, tmp_path / "out", best=4)
    rows = polars.read_parquet(tmp_path / "out" / "crops.parquet").to_dicts()
    assert {row["track"] for row in rows} == set(found.numbers())
    assert all(1 <= sum(row["track"] == number for row in rows) <= 4 for number in found.numbers())
    for number in found.numbers():
        crops = [cv2.imread(str(tmp_path / "out" / row["file"])) for row in rows if row["track"] == number]
        channels = {int(crop[crop.shape[0] // 2, crop.shape[1] // 2].argmax()) for crop in crops}
        assert len(channels) == 1, "a track is red or blue"


def test_vectors_are_the_mean_of_the_crops(video: str, tmp_path: Path) -> None:
    found, _ = follow(video, tmp_path / "out")
    assert found.tracks_t.tolist() == found.numbers()
    np.testing.assert_allclose(np.linalg.norm(found.vectors_td, axis=1), 1, atol=1e-6)
    assert found.vectors_td[0] @ found.vectors_td[1] < 0.5
    plain, _ = follow(video, tmp_path / "plain", embedder=False)
    assert (len(plain.tracks_t), plain.network) == (0, "")


def test_an_equal_run_reads_what_is_there(video: str, tmp_path: Path) -> None:
    first, _ = follow(video, tmp_path / "out")
    before = (tmp_path / "out" / "tracks.txt").stat().st_mtime_ns
    again, said = follow(video, tmp_path / "out")
    assert said == [f"{tmp_path / 'out'}: these tracks are there already"]
    assert (tmp_path / "out" / "tracks.txt").stat().st_mtime_ns == before
    assert again.numbers() == first.numbers()


@pytest.mark.parametrize("rules", [{"start": 0.5}, {"buffer": 10}, {"embedder": False}, {"best": 2}])
def test_other_settings_track_again(video: str, tmp_path: Path, rules: dict[str, object]) -> None:
    follow(video, tmp_path / "out")
    _, said = follow(video, tmp_path / "out", **rules)
    assert not any("already" in line for line in said)


def test_a_changed_video_is_tracked_again(video: str, tmp_path: Path) -> None:
    follow(video, tmp_path / "out")
    write_video(Path(video), two_walk(10))
    found, _ = follow(video, tmp_path / "out")
    assert found.num_frames == 10


def test_an_interrupted_run_keeps_what_was_found(video: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stops(BestCrops):
        def offer(self, frame: Frame, people: People) -> None:
            if frame.index == 12:
                raise KeyboardInterrupt
            super().offer(frame, people)

    with monkeypatch.context() as patch:
        patch.setattr(module, "BestCrops", Stops)
        with pytest.raises(KeyboardInterrupt):
            follow(video, tmp_path / "out")
    part = read_tracks(tmp_path / "out")
    assert not part.whole
    assert part.sightings.frames_n.max() == 12
    found, said = follow(video, tmp_path / "out")
    assert (found.whole, found.num_frames, said) == (True, 20, [])


def test_somebody_elses_folder_is_left_alone(video: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="was not made by this generator"):
        follow(video, tmp_path / "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "x"


def test_short_tracks_are_left_out(tmp_path: Path) -> None:
    flash = (100, 50, 118, 90)
    frames = [image_of((10 + 2 * i, 10, 28 + 2 * i, 46), *([flash] if i < 3 else [])) for i in range(15)]
    video = str(write_video(tmp_path / "a.avi", frames))
    assert len(follow(video, tmp_path / "all", min_frames=1)[0].numbers()) == 2
    assert len(follow(video, tmp_path / "long", min_frames=4)[0].numbers()) == 1


def test_a_video_without_people_has_no_tracks(tmp_path: Path) -> None:
    video = str(write_video(tmp_path / "a.avi", [image_of()] * 5))
    found, _ = follow(video, tmp_path / "out")
    assert (found.numbers(), found.num_frames, len(found.vectors_td)) == ([], 5, 0)
    assert (tmp_path / "out" / "tracks.txt").read_text() == ""
    assert read_tracks(tmp_path / "out").numbers() == []


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    write_images(tmp_path / "frames", two_walk(12))
    found, _ = follow(str(tmp_path / "frames"), tmp_path / "out")
    assert (len(found.numbers()), found.num_frames, found.fps) == (2, 12, 0.0)
    truth = tmp_path / "truth.csv"
    truth.write_text(truth_text(12))
    assert score_tracks(read_mot(truth), found.sightings).idf1 > 0.9


def test_what_is_no_video_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film")
    with pytest.raises(InputError, match=r"a\.mp4"):
        follow(str(tmp_path / "a.mp4"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_hold_no_tracks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not hold the tracks of a video .*run kd-yolo search track"):
        read_tracks(tmp_path)


def test_the_better_crop_is_kept() -> None:
    best = BestCrops(2)
    for index, score in enumerate((0.5, 0.9, 0.6, 0.7, 0.3, 0.8, 0.95)):
        frame = Frame("a", 10 * index, None, 1, image_of((10, 10, 40, 70)))
        boxes = np.array([[10, 10, 40, 70]], np.float32)
        best.offer(frame, People(boxes, np.array([score], np.float32), np.array([3])))
    assert [crop.score for crop in best.of(3)] == pytest.approx([0.95, 0.9])
    assert best.of(4) == []


def test_neighbouring_frames_give_one_crop() -> None:
    best = BestCrops(5)
    for index, score in enumerate((0.5, 0.9, 0.6)):
        frame = Frame("a", index, None, 1, image_of((10, 10, 40, 70)))
        boxes = np.array([[10, 10, 40, 70]], np.float32)
        best.offer(frame, People(boxes, np.array([score], np.float32), np.array([3])))
    assert [crop.index for crop in best.of(3)] == [1]


def test_how_much_of_a_box_is_covered() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [100, 0, 110, 10], [0, 0, 20, 20]], np.float32)
    assert covered(boxes).tolist() == pytest.approx([1.0, 1.0, 0.0, 0.25])
    assert covered(boxes[:1]).tolist() == [0.0]
    assert covered(boxes[:0]).tolist() == []


def test_settings_come_from_the_rules(tmp_path: Path) -> None:
    export = tmp_path / "net.onnx"
    export.write_bytes(b"")
    rules = TrackRules(start=0.55, buffer=7, proximity=0.3, appearance=0.7)
    settings = settings_of(rules, export)
    assert (settings["tracker_type"], settings["with_reid"], settings["model"]) == ("botsort", True, str(export))
    assert (settings["track_high_thresh"], settings["new_track_thresh"], settings["track_buffer"]) == (0.55, 0.55, 7)
    assert (settings["proximity_thresh"], settings["appearance_thresh"], settings["gmc_method"]) == (0.3, 0.7, "none")
    assert settings_of(TrackRules(moving=True), None)["gmc_method"] == "sparseOptFlow"
    assert "model" not in settings_of(TrackRules(tracker="bytetrack"), export)
    assert least_score(settings) == 0.1
    assert least_score(settings_of(TrackRules(start=0.05), None)) == 0.05


def test_a_yaml_goes_over_the_trackers_own_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tracker_type: botsort\ntrack_buffer: 99\n")
    settings = settings_of(TrackRules(tracker=str(file), start=0.9), None)
    assert (settings["track_buffer"], settings["new_track_thresh"]) == (99, 0.25)
    Follower.open(settings, "cpu")


def test_wrong_trackers_and_networks_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown tracker 'botsrt'. Did you mean 'botsort'\? Known: botsort, byte"):
        settings_of(TrackRules(tracker="botsrt"), None)
    with pytest.raises(InputError, match=r"is no export.*kd-yolo reid export --weights best.pt"):
        settings_of(TrackRules(), Path("best.pt"))
    with pytest.raises(InputError, match=r"no such network. Make it with"):
        settings_of(TrackRules(), tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"the tracker cannot use this network. Make one with: kd-yolo reid export"):
        Follower.open(settings_of(TrackRules(), tmp_path / "broken.onnx"), "cpu")
    with pytest.raises(ConfigError, match=r"unknown tracker_type 'sort'"):
        Follower.open({"tracker_type": "sort"}, "cpu")


def test_a_tracker_of_a_package_has_the_settings_of_its_yaml_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKER_MAP, "newtrack", type("NewTracker", (TRACKER_MAP["bytetrack"],), {}))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**tracker_settings("bytetrack"), "tracker_type": "newtrack", "track_buffer": 9}))
    settings = settings_of(TrackRules(tracker=str(file)), None)
    assert settings["track_buffer"] == 9
    assert type(Follower.open(settings, "cpu").tracker).__name__ == "NewTracker"
    with pytest.raises(ConfigError, match=r"no file of settings for the tracker 'newtrack': write a YAML with"):
        settings_of(TrackRules(tracker="newtrack"), None)
    file.write_text("tracker_type: newtrack\n")
    with pytest.raises(ConfigError, match="the settings of tracker newtrack lack a key"):
        Follower.open(settings_of(TrackRules(tracker=str(file)), None), "cpu")


def test_looks_decide_who_goes_on(shared: Path) -> None:
    """Two overlapping boxes change places between two frames: only a network can see it."""
    network = shared / "weights" / "osnet_x0_25_msmt17.onnx"
    if not network.is_file():
        pytest.skip("the network is not there")
    boxes = np.array([[20, 20, 80, 160], [40, 20, 100, 160]], np.float32)
    scores = np.full(2, 0.5, np.float32)
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 255, (140, 20, 3), np.uint8), np.full((140, 20, 3), (30, 200, 30), np.uint8)
    frames = [np.zeros((200, 130, 3), np.uint8) for _ in range(2)]
    for frame, (a, b) in zip(frames, ((left, right), (right, left)), strict=True):
        frame[20:160, 20:40], frame[20:160, 80:100] = a, b
    for reid, changes in ((None, False), (network, True)):
        follower = Follower.open(settings_of(TrackRules(appearance=0.0), reid), "cpu")
        first = follower.update(boxes, scores, frames[0])
        second = follower.update(boxes, scores, frames[1])
        by_place = [dict(zip(rows[:, 0].round(-1), rows[:, 4], strict=True)) for rows in (first, second)]
        assert (by_place[0][20] != by_place[1][20]) == changes
