"""A run that is stopped, interrupted or killed at any moment and goes on: no crop twice, none missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from kd_yolo.search.crops import ledger
from kd_yolo.search.frames.video import read_video
from tests.search.crops_helpers import (
    BrightDetector,
    content,
    run,
    use_bright_detector,
    walk,
    write_images,
    write_video,
)

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 23


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> BrightDetector:
    monkeypatch.setattr(ledger, "PART_FRAMES", 4)
    return use_bright_detector(monkeypatch)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "v.avi", walk(FRAMES))


def test_again_does_nothing_twice_and_takes_what_is_new(tmp_path: Path, detector: BrightDetector) -> None:
    source = write_images(tmp_path / "in", walk(6))
    run(source, tmp_path / "out")
    before = content(tmp_path / "out")
    first_seen = detector.num_seen
    report, text = run(source, tmp_path / "out")
    assert (content(tmp_path / "out"), detector.num_seen, report.frames) == (before, first_seen, 0)
    assert "going on: 6 frames are done, 0 of 6 inputs are left" in text
    cv2.imwrite(str(source / "0000.png"), walk(2)[1])
    report, _ = run(source, tmp_path / "out")
    rows, files = content(tmp_path / "out")
    assert report.frames == 1
    assert len(rows) == len(before[0]) + 1
    assert {name: data for name, data in files.items() if name in before[1]} == before[1], "old names stay"


@pytest.mark.parametrize("kind", ["video", "folder"])
@pytest.mark.parametrize("stop_at", [1, 4, 7, 18])
def test_stopped_and_continued_equals_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, kind: str, stop_at: int
) -> None:
    source = video if kind == "video" else write_images(tmp_path / "in", walk(FRAMES))
    whole, _ = run(source, tmp_path / "whole")
    add, count = ledger.Ledger.add, [0]

    def interrupted(self: ledger.Ledger, note: ledger.Note) -> None:
        add(self, note)
        count[0] += 1
        if count[0] % stop_at == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger.Ledger, "add", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out")
        content(tmp_path / "out")
        if stop_at == 18:
            break
    monkeypatch.setattr(ledger.Ledger, "add", add)
    report, _ = run(source, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert report.totals == whole.totals
    assert report.frames == FRAMES - (2 if stop_at < 18 else 1) * stop_at, "what was done is not done again"


KILLED = """
import os, signal, sys
from pathlib import Path
from kd_yolo.search.crops import ledger, run as crops
from kd_yolo.search.networks import detector
from tests.search.crops_helpers import CONFIG, BrightDetector
detector.PersonDetector.open = classmethod(lambda cls, settings, trust=False: BrightDetector())
ledger.PART_FRAMES = 4
place, left = sys.argv[3], [int(sys.argv[4])]
before = getattr(ledger, place)
def dying(*args, **named):
    if place == "_write_json" and args[0].parent.name != "parts":
        return before(*args, **named)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*args, **named)
setattr(ledger, place, dying)
crops.write_crops(sys.argv[1], CONFIG, Path(sys.argv[2]))
"""
PLACES = [("write_image", 12), ("_write_json", 3)]


def check_that_it_goes_on(folder: Path, video: Path) -> None:
    """Crops were cut into ``out`` in the folder until the run ended somewhere."""
    whole, _ = run(video, folder / "whole")
    left = {file.name for file in (folder / "out" / "crops").iterdir()}
    named = {Path(row["file"]).name for row in ledger.read_rows(folder / "out")}
    assert named < left, "the kill left crops that no part names"
    for name in (".0000_c1s1_000008_00.jpg.part", "0000_c1s1_000999_00.jpg"):
        (folder / "out" / "crops" / name).write_bytes(b"half")
    report, text = run(video, folder / "out")
    assert "going on: 8 frames are done, 1 of 1 inputs are left" in text
    assert content(folder / "out") == content(folder / "whole")
    assert report.totals == whole.totals


@pytest.mark.parametrize(("place", "count"), PLACES)
def test_what_is_on_the_disk_at_a_kill_goes_on_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, place: str, count: int
) -> None:
    """A copy of the folder at that moment: nothing that the process does afterwards reaches it."""
    before, calls = getattr(ledger, place), []

    def dying(*args: Any, **named: Any) -> Any:
        if place == "write_image" or args[0].parent.name == "parts":
            calls.append(args)
            if len(calls) == count:
                shutil.copytree(tmp_path / "out", tmp_path / "killed")
                raise KeyboardInterrupt
        return before(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, place, dying)
        with pytest.raises(KeyboardInterrupt):
            run(video, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "killed").rename(tmp_path / "out")
    check_that_it_goes_on(tmp_path, video)


@pytest.mark.slow  # six seconds each for what the test before this one asks
@pytest.mark.parametrize(("place", "count"), PLACES)
def test_killed_and_continued_equals_undisturbed(tmp_path: Path, video: Path, place: str, count: int) -> None:
    words = [sys.executable, "-c", KILLED, str(video), str(tmp_path / "out"), place, str(count)]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -9
    check_that_it_goes_on(tmp_path, video)


def test_an_interrupt_while_a_part_is_written_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path
) -> None:
    run(video, tmp_path / "whole")
    write = ledger._write_json

    def interrupted(file: Path, values: dict[str, Any]) -> None:
        write(file, values)
        if file.name == "00000002.json":
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "_write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(video, tmp_path / "out")
    monkeypatch.setattr(ledger, "_write_json", write)
    run(video, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_finished_video_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.avi", "b.avi"):
        write_video(source / name, walk(7))
    opened: list[tuple[str, int]] = []
    add = ledger.Ledger.add

    def interrupted(self: ledger.Ledger, note: ledger.Note) -> None:
        add(self, note)
        if note.source.endswith("b.avi") and note.next_frame == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger.Ledger, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out")
    monkeypatch.setattr(ledger.Ledger, "add", add)
    from kd_yolo.search.frames import sources

    def watched(name: str, **options: Any) -> Any:
        opened.append((Path(name).name, options["start"]))
        return read_video(name, **options)

    monkeypatch.setattr(sources, "read_video", watched)
    run(source, tmp_path / "out")
    run(source, tmp_path / "out")
    assert opened == [("b.avi", 3)]
    assert json.loads((tmp_path / "out" / "inputs.json").read_text()) == {
        str(source / "a.avi"): [1, 1, 0], str(source / "b.avi"): [2, 1, 0],
    }  # fmt: skip
