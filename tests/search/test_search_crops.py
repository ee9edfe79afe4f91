"""A folder of crops: what the rules say, bad input passed over, other settings and strangers' folders refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars
import pytest
from PIL import Image

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError, MissingDependencyError
from kd_yolo.base.lock import locked
from kd_yolo.data.market_name import parse_market_name
from kd_yolo.search.crops import ledger
from kd_yolo.search.crops import run as crops
from kd_yolo.search.frames.frame_types import COLUMNS
from kd_yolo.search.frames.video import read_video
from tests.search.crops_helpers import (
    CONFIG,
    BrightDetector,
    content,
    image_of,
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


def test_rows_and_crops_are_what_a_naive_loop_finds(tmp_path: Path, video: Path) -> None:
    report, _ = run(video, tmp_path / "out", CONFIG.model_copy(update={"stride": 2, "camera": 5}), csv=True)
    rows, files = content(tmp_path / "out")
    expected = []
    for moment in read_video(str(video)):
        if moment.index % 2:
            continue
        found = BrightDetector._people(moment.image_hw3)
        for place, box in enumerate(found.boxes_xyxy_m4.astype(int).tolist()):
            file = f"crops/0000_c5s1_{moment.index:06d}_{place:02d}.jpg"
            expected.append([file, str(video), moment.index, moment.index / 10, 5, -1, *box, 0.9])
            x1, y1, x2, y2 = box
            crop = cv2.imdecode(np.frombuffer(files[file], np.uint8), cv2.IMREAD_COLOR)
            difference = crop.astype(int) - moment.image_hw3[y1:y2, x1:x2].astype(int)
            assert np.abs(difference).mean() < 4, "BGR in the file as in the frame"
    assert [list(row.values()) for row in rows] == expected
    assert list(rows[0]) == list(COLUMNS)
    assert polars.read_csv(tmp_path / "out" / "crops.csv").to_dicts() == rows
    assert (report.totals.frames, report.totals.crops, report.totals.people) == (12, len(rows), len(rows))


def test_names_are_market_names_and_unique_over_a_mixed_folder(tmp_path: Path) -> None:
    source = tmp_path / "in put ü"
    write_images(source / "a", walk(5)[1:])
    write_images(source / "b", walk(5)[1:])
    cv2.imwrite(str(source / "a" / "0002_c4s1_000451_03.png"), walk(2)[1])
    write_video(source / "cam9.avi", walk(6))
    write_video(source / "other.avi", walk(6))
    run(source, tmp_path / "out")
    rows, files = content(tmp_path / "out")
    assert len(files) == len(rows) > 15
    for row in rows:
        matched = parse_market_name(Path(row["file"]).name)
        assert matched is not None
        assert matched.camera == row["camera"]
    cameras = {Path(row["source"]).name: row["camera"] for row in rows}
    assert (cameras["0002_c4s1_000451_03.png"], cameras["cam9.avi"]) == (4, 9)
    assert {row["camera"] for row in rows} == {1, 2, 3, 4, 9}


def test_boxes_left_out_are_counted_by_reason(tmp_path: Path) -> None:
    source = write_images(tmp_path / "in", [image_of((0, 10, 20, 60), (40, 10, 60, 60), (80, 10, 83, 60))])
    config = CONFIG.model_copy(update={"rules": CONFIG.rules.model_copy(update={"max_truncated": 0})})
    report, text = run(source, tmp_path / "out", config)
    assert dict(report.totals.rejected) == {"truncated": 1, "small": 1}
    assert "3 people seen, 1 crops\nleft out by the rules: 1 truncated, 1 small" in text


def test_nobody_is_an_empty_index_and_no_error(tmp_path: Path) -> None:
    _, text = run(write_images(tmp_path / "in", [image_of()] * 3), tmp_path / "out", csv=True)
    assert content(tmp_path / "out") == ([], {})
    assert polars.read_parquet(tmp_path / "out" / "crops.parquet").schema == polars.DataFrame(schema=COLUMNS).schema
    assert (tmp_path / "out" / "crops.csv").read_text().startswith("file,source,frame")
    assert "no person found: the index is empty" in text


def test_bad_images_are_skipped_and_odd_ones_are_read(tmp_path: Path) -> None:
    source = write_images(tmp_path / "in", walk(3)[1:])
    (source / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (source / "empty.mp4").write_bytes(b"")
    cv2.imwrite(str(source / "one.png"), np.full((1, 1, 3), 255, np.uint8))
    Image.fromarray(image_of((10, 10, 30, 60))).convert("CMYK").save(source / "cmyk.jpg", quality=95)
    Image.fromarray(image_of((10, 10, 30, 60))).convert("L").save(source / "grey.png")
    cv2.imwrite(str(source / "wide.png"), image_of((19_900, 10, 19_950, 90), size_hw=(100, 20_000)))
    report, text = run(source, tmp_path / "out")
    assert len(report.skipped) == 2
    assert "warning: 2 inputs could not be read" in text
    rows, _ = content(tmp_path / "out")
    assert {Path(row["source"]).name for row in rows} == {"000.png", "001.png", "cmyk.jpg", "grey.png", "wide.png"}
    assert [row["x1"] for row in rows if row["source"].endswith("wide.png")] == [19_900]
    again, _ = run(source, tmp_path / "out")
    assert again.frames == 0, "what cannot be read is tried again, the rest is not"


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"nothing of .*v.mp4 can be read. .*v.mp4 cannot be opened as a video"):
        run(tmp_path / "v.mp4", tmp_path / "out")


def test_a_detector_that_fails_leaves_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, detector: BrightDetector
) -> None:
    detect = BrightDetector.detect

    def failing(self: BrightDetector, images: list[np.ndarray], conf: float) -> Any:
        if self.num_seen >= 12:
            raise RuntimeError("out of memory")
        return detect(self, images, conf)

    monkeypatch.setattr(BrightDetector, "detect", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(video, tmp_path / "out")
    rows, _ = content(tmp_path / "out")
    assert {row["frame"] for row in rows} <= set(range(12))
    assert len(rows) > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 2}, "stride: there 1, asked for 2"),
        ({"camera": 3}, "camera: there None, asked for 3"),
        ({"rules": CONFIG.rules.model_copy(update={"pad": 0.5})}, "pad: there 0.0, asked for 0.5"),
        ({"detector": CONFIG.detector.model_copy(update={"imgsz": 320})}, "imgsz: there 640, asked for 320"),
    ],
)
def test_other_settings_are_refused_with_the_difference(
    tmp_path: Path, video: Path, detector: BrightDetector, change: dict[str, Any], message: str
) -> None:
    run(video, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(ConfigError, match=f"holds crops of other settings:\n  {message}\nGive the same"):
        run(video, tmp_path / "out", CONFIG.model_copy(update=change))
    detector.hash = "another"
    with pytest.raises(ConfigError, match="weights: there 'bright', asked for 'another'"):
        run(video, tmp_path / "out")
    detector.hash = "bright"
    device = {"detector": CONFIG.detector.model_copy(update={"batch": 1, "device": "cpu"})}
    run(video, tmp_path / "out", CONFIG.model_copy(update=device))
    assert content(tmp_path / "out") == before


def test_folders_that_are_not_ours(tmp_path: Path, video: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty and holds no crops: it is left alone"):
        run(video, tmp_path / "mine")
    run(video, tmp_path / "out")
    (tmp_path / "out" / "crops" / "mine.jpg").write_bytes(b"x")
    run(video, tmp_path / "out")
    assert (tmp_path / "out" / "crops" / "mine.jpg").exists(), "only crops are swept away"
    (tmp_path / "out" / "parts" / "00000001.json").write_text("{")
    with pytest.raises(InputError, match=r"00000001.json is damaged .* remove .*/out and start again"):
        run(video, tmp_path / "out")


def test_two_at_once(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out", exclusive=True), pytest.raises(KDYoloError, match="another process"):
        run(video, tmp_path / "out")
    run(video, tmp_path / "out")
    assert len(content(tmp_path / "out")[0]) > 0


def test_polars_is_asked_for_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingDependencyError, match=r"polars.*pip install 'kd-yolo\[search\]'"):
        run(video, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert crops.VERSION == 1
