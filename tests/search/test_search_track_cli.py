"""``kd-yolo search track`` and ``link``: what is printed and written, and what wrong input gets."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kd_yolo.cli.search import track as search_track
from kd_yolo.cli.search.track import main
from kd_yolo.search.tracks import run as track_run
from tests.search.crops_helpers import BrightDetector
from tests.search.track_helpers import ColourEmbedder, write_two


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two videos, a detector of bright boxes, and a network for colours that ByteTrack does not use."""
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PersonDetector, "open", classmethod(lambda cls, settings: BrightDetector()))
    monkeypatch.setattr(Embedder, "open", classmethod(lambda cls, weights, device=None: ColourEmbedder()))
    Path("colour.onnx").write_bytes(b"x")
    return write_two(tmp_path / "in")


def run(*words: str) -> int:
    try:
        return main([str(word) for word in words])
    except SystemExit as stop:  # flags that cannot be read
        return int(stop.code or 0)


def persons(folder: Path) -> list[dict[str, str]]:
    with (folder / "persons.csv").open() as stream:
        return list(csv.DictReader(stream))


def truths(videos: list[str]) -> list[str]:
    return [str(Path(video).with_suffix(".csv")) for video in videos]


def test_tracks_of_one_person_are_joined_and_scored(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tracker", "bytetrack", "--reid", "colour.onnx", "--out", "run", "--truth", *truths(videos)]
    assert run("track", *videos, *words, "--same-people") == 0
    out = capsys.readouterr().out
    assert "4 tracks of 2 people" in out
    assert "results: run" in out
    assert "next:    kd-yolo search link run" in out
    rows = persons(Path("run"))
    assert [(row["person"], row["video"]) for row in rows] == [
        ("1", "cam1"),
        ("1", "cam2"),
        ("2", "cam1"),
        ("2", "cam2"),
    ]
    metrics = json.loads(Path("run/metrics.json").read_text())
    each = ["cam1", "cam1, linked", "cam2", "cam2, linked"]
    assert list(metrics) == [*each, "all videos, summed", "all videos, summed, linked", "all cameras"]
    assert metrics["all cameras"]["idf1"] > 0.95
    assert metrics["all cameras"]["switches"] == 0
    assert f"IDF1 {metrics['cam1']['idf1']:.3f}" in out
    assert sorted(file.name for file in Path("run").glob("*.mp4")) == ["cam1.mp4", "cam2.mp4"]


def test_without_a_network_every_track_is_a_person(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("track", *videos, "--tracker", "bytetrack", "--out", "run", "--no-video", "--truth", *truths(videos)) == 0
    )
    assert "with --reid reid.onnx joins" in capsys.readouterr().out
    assert len({row["person"] for row in persons(Path("run"))}) == 4
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert list(metrics) == ["cam1", "cam2", "all videos, summed"], "nobody said that person 1 is one in both"
    assert metrics["all videos, summed"]["idf1"] > 0.95
    assert metrics["all videos, summed"]["right"] == metrics["cam1"]["right"] + metrics["cam2"]["right"]
    assert not list(Path("run").glob("*.mp4"))


def test_link_joins_again(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "track", *videos, "--tracker", "bytetrack", "--reid", "colour.onnx", "--out", "run", "--link", "0", "--no-video"
    )
    assert len({row["person"] for row in persons(Path("run"))}) == 4
    words = ["--threshold", "0.2", "--no-video", "--same-people"]
    assert run("link", "run", *words, "--truth", *truths(videos)) == 0
    assert len({row["person"] for row in persons(Path("run"))}) == 2
    assert "all cameras" in capsys.readouterr().out


def test_the_same_command_goes_on(videos: list[str], capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    words = ["--tracker", "bytetrack", "--out", "run", "--no-video"]
    follow, done = track_run.track_video, []

    def stops(video: str, *rest: object) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(video)
        return follow(video, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(track_run, "track_video", stops)
        assert run("track", *videos, *words) == 130
    assert "go on with the same command and --out run" in capsys.readouterr().err
    assert run("track", *videos, *words) == 0
    assert "these tracks are there already" in capsys.readouterr().out
    assert len(persons(Path("run"))) == 4


def test_videos_of_one_name_get_folders_of_their_own() -> None:
    assert track_run.folder_names(["a/v.mp4", "b/v.mp4", "b/w.mp4", "rtsp://me@host/live"]) == [
        "a-v",
        "b-v",
        "w",
        "live",
    ]
    assert track_run.folder_names(["MOT17-02/img1", "MOT17-04/img1/"]) == ["MOT17-02", "MOT17-04"]
    assert track_run.folder_names(["x/1/img1", "y/1/img1", "z.b/img1", "z.b/img2"]) == ["1", "1-2", "z.b", "img2"]
    for strange in ("..", ".", "/", "a\n\x1b[31m/b\x07.mp4", "...", "-.mp4", "rtsp://h/a/..?q=1/2"):
        (name,) = track_run.folder_names([strange])
        assert name.isprintable()
        assert Path(name).name == name != ".."


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["in/cam1.avi", "--truth", "none.csv"], 3, "none.csv: no such file"),
        (["in/cam1.avi", "in/cam2.avi", "--truth", "in/cam1.csv"], 2, "--truth names 1 file(s) for 2 video(s)"),
        (["in/cam1.avi", "in/cam1.avi"], 2, "named twice"),
        (["in/cam1.avi", "--tracker", "bytetrak"], 2, "Did you mean 'bytetrack'?"),
        (["in/cam1.avi", "--start", "1.5"], 2, "--start: Input should be less than 1 (got '1.5')"),
        (["in/cam1.avi", "--reid", "best.pt"], 3, "kd-yolo reid export --weights best.pt"),
        (["none.mp4"], 3, "none.mp4: no such file"),
    ],
)
def test_wrong_input(
    videos: list[str], words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("track", *words, "--out", "run") == code
    assert text in capsys.readouterr().err
    assert not Path("run").exists()


def test_link_wants_a_run(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert run("link", "empty") == 3
    assert "holds no tracks: run kd-yolo search track VIDEO" in capsys.readouterr().err


def test_vectors_of_two_networks_are_not_compared(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run("track", *videos, "--tracker", "bytetrack", "--reid", "colour.onnx", "--out", "run", "--no-video")
    header = Path("run/cam2/meta.json")
    header.write_text(header.read_text().replace('"network": "colour"', '"network": "other"'))
    assert run("link", "run") == 3
    assert "come from the networks colour, other" in capsys.readouterr().err


def test_help_and_unknown_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert run("--help") == 0
    assert "usage: kd-yolo search <track|link>" in capsys.readouterr().out
    assert set(search_track.ABOUT) == {"track", "link"}
