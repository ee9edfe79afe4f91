"""Bad files of every kind, and a place to run commands in where nothing may go wrong in an unforeseen way."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from kd_yolo.cli import run as frame
from tests.reid.data_helpers import write_image
from tests.search.bad_helpers import CROPS, code_of, png_of
from tests.search.crops_helpers import BrightDetector, write_video
from tests.search.gallery_helpers import save_network
from tests.search.track_helpers import truth_text, two_walk


@pytest.fixture(scope="package")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, a ReID set, a gallery, a video with its truth, a run of `search track`, and all kinds of bad files."""
    folder = tmp_path_factory.mktemp("bad")
    save_network(folder / "reid.pt")
    for part in ("query", "bounding_box_test"):
        for number, name in enumerate(CROPS):
            write_image(folder / "set" / part / name, number)
    words = ["search", "index", str(folder / "set"), "--weights", str(folder / "reid.pt"), "--gallery"]
    assert code_of([*words, str(folder / "g")]) == 0
    write_video(folder / "cam1.avi", two_walk(8))
    (folder / "cam1.csv").write_text(truth_text(8))
    for name, content in {
        "text.jpg": b"text", "text.mp4": b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n", "empty.png": b"", "empty.mp4": b"",
        "bomb.png": png_of(60_000, 60_000), "noise.mp4": bytes(range(256)) * 9, "bad.onnx": b"x", "bad.yaml": b"a: [",
        "list.yaml": b"- 1", "self.txt": b"self.txt\n", "gone.txt": b"gone.jpg\n", "bin.txt": b"\xff\xfe\x00",
        "none.csv": b"", "twice.csv": b"1,1,0,0,9,9,1,1,1\n" * 2, "words.csv": b"frame,id\n",
        "cars.csv": b"1,1,0,0,9,9,1,3,1\n", "tracker.yaml": b"tracker_type: botsort\n", "nokind.yaml": b"a: 1\n",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    for name, rows in (("nofile", {"a": [1]}), ("escape", None)):
        (folder / name).mkdir()
        row = {"file": ["../cam1.avi"], "source": ["x"], "frame": [0], "seconds": [0.0], "camera": [1], "track": [1],
               "x1": [0], "y1": [0], "x2": [1], "y2": [1], "score": [1.0]}  # fmt: skip
        pl.DataFrame(rows or row).write_parquet(folder / name / "crops.parquet")
    (folder / "notable").mkdir()
    (folder / "notable" / "crops.parquet").write_bytes(b"PAR1PAR1")
    return folder


@pytest.fixture
def bad_place(bad_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Links to what was made; tests that damage something make copies."""
    for path in bad_files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)

    def unforeseen(error: Exception) -> int:
        raise AssertionError(f"not foreseen: {type(error).__name__}: {error}") from error

    monkeypatch.setattr("logging.raiseExceptions", False)  # ultralytics' logger holds a stream that pytest has closed
    monkeypatch.setattr(frame, "_fail_unforeseen", unforeseen)
    return tmp_path


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bright boxes for people."""
    from kd_yolo.search.networks.detector import PersonDetector

    def opened(cls: object, settings: object, *, trust: bool = False) -> BrightDetector:
        return BrightDetector()

    monkeypatch.setattr(PersonDetector, "open", classmethod(opened))
