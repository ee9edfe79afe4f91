"""Sources: every kind is read in order, bad ones are said and skipped, and cameras have lasting numbers."""

from __future__ import annotations

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.search.frames import images as images
from kd_yolo.search.frames.camera_numbers import camera_in_name, number_inputs
from kd_yolo.search.frames.frame_types import Frame
from kd_yolo.search.frames.images import read_bgr
from kd_yolo.search.frames.sources import find_inputs, open_source
from kd_yolo.search.frames.video import read_video
from tests.search.crops_helpers import image_of, walk, write_images, write_video


def read(source: str | Path, **options: object) -> tuple[list[Frame], list[str]]:
    said: list[str] = []
    return list(open_source(str(source), say=said.append, **options)), said  # type: ignore[arg-type]


def names(frames: list[Frame]) -> list[str]:
    return [Path(frame.source).name for frame in frames]


def test_a_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), image_of((10, 10, 20, 40)))
    (frame,), said = read(tmp_path / "a.png")
    assert (frame.source, frame.index, frame.seconds, frame.camera) == (str(tmp_path / "a.png"), 0, None, 1)
    assert np.array_equal(frame.image_hw3, image_of((10, 10, 20, 40)))
    assert said == []


def test_a_folder_with_all_under_it_sorted_and_nothing_hidden(tmp_path: Path) -> None:
    write_images(tmp_path / "b", walk(2))
    write_images(tmp_path / "a ü 人", walk(1))
    write_images(tmp_path / ".hidden", walk(1))
    write_video(tmp_path / "c.avi", walk(3))
    (tmp_path / "notes.md").write_text("no image")
    frames, _ = read(tmp_path)
    assert names(frames) == ["000.png", "000.png", "001.png", "c.avi", "c.avi", "c.avi"]
    assert [frame.camera for frame in frames] == [1, 2, 2, 3, 3, 3]
    assert [frame.index for frame in frames[3:]] == [0, 1, 2]
    found = [source.name for source in find_inputs(str(tmp_path)) if source.kind == "image"]
    assert found == [frame.source for frame in frames[:3]]


def test_the_folder_of_the_results_is_left_out(tmp_path: Path) -> None:
    write_images(tmp_path, walk(1))
    write_images(tmp_path / "out" / "crops", walk(2))
    assert len(find_inputs(str(tmp_path), leave_out=tmp_path / "out")) == 1


def test_a_glob_and_a_list(tmp_path: Path) -> None:
    write_images(tmp_path / "in put", walk(4))
    assert names(read(f"{tmp_path}/*/00[13].png")[0]) == ["001.png", "003.png"]
    (tmp_path / "list.txt").write_text("﻿in put/002.png\n\n  in put/000.png  \nin put/002.png\nin put/gone.png\n")
    frames, said = read(tmp_path / "list.txt")
    assert names(frames) == ["002.png", "000.png"], "each once, in the list's order"
    assert len(said) == 1
    assert "gone.png" in said[0]


def test_a_video_with_stride_and_time(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v i d ü.avi", walk(9), rate=10)
    frames, said = read(video, stride=4)
    assert [(frame.index, frame.seconds) for frame in frames] == [(0, 0.0), (4, 0.4), (8, 0.8)]
    assert said == []
    whole = {moment.index: moment.image_hw3 for moment in read_video(str(video))}
    assert all(np.array_equal(frame.image_hw3, whole[frame.index]) for frame in frames)
    later = list(read_video(str(video), start=5, stride=2))
    assert [moment.index for moment in later] == [6, 8]
    assert [moment.seconds for moment in later] == [0.6, 0.8]


def test_a_video_that_is_cut_off_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", walk(40))
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    frames, said = read(video)
    assert 5 < len(frames) < 40
    assert any("ends after" in line for line in said)


@pytest.mark.parametrize("name", ["v.mp4", "p.jpg", "strange.xyz"])
def test_what_cannot_be_read_is_an_error_alone_and_a_warning_among_others(tmp_path: Path, name: str) -> None:
    folder = write_images(tmp_path / "in", walk(2))
    (folder / name).write_bytes(b"neither an image nor a video")
    with pytest.raises(InputError, match=f"nothing there can be read.*{name}"):
        read(folder / name)
    frames, said = read(folder)
    assert len(frames) == 2
    assert len(said) == 1
    if name == "strange.xyz":
        assert said[0].endswith("1 files passed over: 1 of kind '.xyz'")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.mp4", r"gone.mp4: no such file \(/.*\). A source is an image, a folder"),
        ("none/*.jpg", "no such file"),
        ("empty", "no images and no videos there"),
        ("list.txt", "line 2: a list names files; run a stream by itself: rtsp://x"),
        ("binary.txt", "is no list of files"),
    ],
)
def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("a.png\nrtsp://x\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=message):
        open_source(source)


def test_a_stream_that_stops_keeps_what_it_gave(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", walk(12))

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v.avi"
    try:
        frames, said = read(address)
        assert [frame.index for frame in frames] == list(range(12))
        assert {frame.source for frame in frames} == {address}
        assert said == [f"warning: {address} stopped after 12 frames; what was read is kept"]
        counted = [moment.index for moment in read_video(address, start=12, live=True, say=said.append)]
        assert counted == list(range(12, 24)), "a stream that is run again goes on counting"
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(InputError, match=r"cannot be opened. Is it on and in reach"):
        read(address)


def test_a_webcam_that_is_not_there() -> None:
    with pytest.raises(InputError, match="webcam 97 cannot be opened"):
        read("97")


@pytest.mark.parametrize(
    ("mode", "colour", "expected_rgb"),
    [
        ("L", 77, (77, 77, 77)),
        ("RGBA", (10, 20, 30, 128), (10, 20, 30)),
        ("I;16", 0x4D4D, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_bgr(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], expected_rgb: tuple[int, int, int]
) -> None:
    Image.new(mode, (3, 2), colour).save(tmp_path / "p.png")  # type: ignore[arg-type]
    image = read_bgr(tmp_path / "p.png")
    assert image.shape == (2, 3, 3)
    assert tuple(image[0, 0]) == expected_rgb[::-1]


def test_cmyk_and_turned_images(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "p.jpg", quality=100)
    blue, green, red = (int(value) for value in read_bgr(tmp_path / "p.jpg")[4, 4])
    assert red > 200
    assert max(blue, green) < 60
    upright = Image.new("RGB", (8, 4))
    upright.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees to the right
    upright.save(tmp_path / "t.png", exif=exif)
    image = read_bgr(tmp_path / "t.png")
    assert image.shape == (8, 4, 3)
    assert tuple(image[0, 3]) == (0, 0, 255)


def test_a_single_pixel_and_a_very_large_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.full((1, 1, 3), 9, np.uint8))
    assert read_bgr(tmp_path / "one.png").shape == (1, 1, 3)
    monkeypatch.setattr(images, "LARGE_PX", 1000)
    wide = np.zeros((8, 20_000, 3), np.uint8)
    wide[:, 19_000:] = (1, 2, 3)
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    assert np.array_equal(read_bgr(tmp_path / "wide.png"), wide)
    (tmp_path / "torn.png").write_bytes((tmp_path / "wide.png").read_bytes()[:60])
    with pytest.raises(InputError, match="is not an image that can be read"):
        read_bgr(tmp_path / "torn.png")


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("/x/0002_c3s1_000451_03.jpg", 3),
        ("/x/-1_c2s1_000451_00.jpg", 2),
        ("/x/cam1.mp4", 1),
        ("/x/Camera-07.mp4", 7),
        ("/x/north cam 12 day.mp4", 12),
        ("/data/cam_4/000001.jpg", 4),
        ("rtsp://cam5/stream", 5),
        ("/x/webcam3.mp4", None),
        ("/x/cam0.mp4", 0),
        ("/x/cam20240131120000.mp4", None),
        ("/x/video.mp4", None),
    ],
)
def test_cameras_that_names_say(name: str, camera: int | None) -> None:
    assert camera_in_name(name) == camera


def test_cameras_in_order_fill_the_gaps_between_those_that_are_said() -> None:
    places = {"/a/x.mp4": "/a/x.mp4", "/a/cam1.mp4": "/a/cam1.mp4", "/p/1.jpg": "/p", "/p/2.jpg": "/p"}
    found = {name: (n.camera, n.sequence, n.image) for name, n in number_inputs(places).items()}
    assert found == {
        "/a/x.mp4": (2, 1, 0), "/a/cam1.mp4": (1, 1, 0), "/p/1.jpg": (3, 1, 0), "/p/2.jpg": (3, 1, 1),
    }  # fmt: skip
    given_one = number_inputs(places, camera=4)
    assert {n.camera for n in given_one.values()} == {4}
    assert [n.sequence for n in given_one.values()] == [1, 2, 3, 3]


PLACES = st.dictionaries(
    st.sampled_from([f"/{folder}/{name}" for folder in ("p", "q", "cam2") for name in ("1.jpg", "2.jpg", "3.jpg")])
    | st.sampled_from(["/v/a.mp4", "/v/cam1.mp4", "/v/cam2.mp4"]),
    st.none(),
)


@given(PLACES, PLACES)
def test_numbers_last_when_inputs_come_and_go(first: dict[str, None], second: dict[str, None]) -> None:
    def places(found: dict[str, None]) -> dict[str, str]:
        return {name: name if name.endswith("mp4") else str(Path(name).parent) for name in sorted(found)}

    before = number_inputs(places(first))
    after = number_inputs(places(second), known=before)
    assert {name: after[name] for name in before} == before
    assert set(after) == {*first, *second}
    assert len(set(after.values())) == len(after), "no two inputs share a name for their crops"
    assert number_inputs(places(second), known=after) == after
