"""Images without labels: from a folder, glob, list, image or video, without those that are known or corrupt."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.data import frames
from kd_yolo.data.frames import video_frames
from kd_yolo.data.unlabelled import UnlabelledImages, find_unlabelled


def write_image(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def write_video(path: Path, count: int, suffix_codec: str = "MJPG") -> Path:
    """A video whose frames get brighter: frame i has the value 10 i."""
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*suffix_codec), 10, (64, 48))
    assert out.isOpened()
    for i in range(count):
        out.write(np.full((48, 64, 3), 10 * i % 250, np.uint8))
    out.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, one in a folder below, and a file of another kind."""
    for name in ("a.png", "b.jpg", "c.PNG", "deep/d.bmp"):
        write_image(tmp_path / "pool" / name)
    (tmp_path / "pool" / "readme.md").write_text("not an image")
    return tmp_path / "pool"


def find(source: object, tmp_path: Path, exclude: tuple[Path, ...] = ()) -> UnlabelledImages:
    return find_unlabelled(str(source), frames_dir=tmp_path / "frames", exclude=exclude)


def names(found: UnlabelledImages) -> list[str]:
    return [file.name for file in found.files]


def test_a_folder_with_all_that_is_under_it(folder: Path, tmp_path: Path) -> None:
    found = find(folder, tmp_path)
    assert names(found) == ["a.png", "b.jpg", "c.PNG", "d.bmp"]
    assert all(file.is_absolute() for file in found.files)
    assert found.skipped == ()
    assert found.notes == ()
    assert not (tmp_path / "frames").exists()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.png", ["a.png"]), ("**/*.*", ["a.png", "b.jpg", "c.PNG", "d.bmp"]), ("[bx].jpg", ["b.jpg"])],
)
def test_a_glob(folder: Path, tmp_path: Path, pattern: str, expected: list[str]) -> None:
    assert names(find(folder / pattern, tmp_path)) == expected


def test_a_name_that_looks_like_a_glob_is_taken_as_it_is(tmp_path: Path) -> None:
    write_image(tmp_path / "pool[1]" / "a.png")
    assert names(find(tmp_path / "pool[1]", tmp_path)) == ["a.png"]


def test_one_image(folder: Path, tmp_path: Path) -> None:
    assert names(find(folder / "a.png", tmp_path)) == ["a.png"]


def test_paths_in_a_list_count_from_its_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = folder / "list.txt"
    listed.write_text(f"a.png\n\n./deep/d.bmp\n{folder / 'b.jpg'}\na.png\ngone.png\nreadme.md\n", encoding="utf-8-sig")
    found = find("pool/list.txt", tmp_path)
    assert names(found) == ["a.png", "b.jpg", "d.bmp"]
    assert found.skipped == ((folder / "gone.png", "missing"),)
    assert found.notes == (f"1 of 4 images cannot be used and are skipped: {folder / 'gone.png'} (missing)",)


NO_IMAGE = "is no image that can be read"


def test_corrupt_images_are_named_and_skipped(folder: Path, tmp_path: Path) -> None:
    (folder / "e.png").write_bytes(b"")
    for i in range(6):
        (folder / f"f{i}.jpg").write_bytes(b"no image")
    (folder / "g.heic").write_bytes(b"no image")
    found = find(folder, tmp_path)
    assert names(found) == ["a.png", "b.jpg", "c.PNG", "d.bmp"]
    assert [(file.name, why) for file, why in found.skipped] == [
        ("e.png", "empty"), *((f"f{i}.jpg", NO_IMAGE) for i in range(6)), ("g.heic", NO_IMAGE),
    ]  # fmt: skip
    (note,) = found.notes
    assert note.startswith(f"8 of 12 images cannot be used and are skipped: {folder / 'e.png'} (empty), ")
    assert note.endswith(f"{folder / 'f3.jpg'} ({NO_IMAGE}) and 3 more")
    assert (folder / "f0.jpg").read_bytes() == b"no image"


def test_labelled_images_are_left_out_however_they_are_spelt(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    found = find(folder, tmp_path, exclude=(tmp_path / "link" / "a.png", folder / "deep" / ".." / "b.jpg"))
    assert names(found) == ["c.PNG", "d.bmp"]
    assert found.notes == ("2 of 4 images are in the labelled set: left out",)


def test_label_files_are_said_to_be_unread(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    found = find(tmp_path / "images", tmp_path)
    assert names(found) == ["a.png", "b.png"]
    assert found.notes == ("1 of 2 images have label files: they are not read",)


def test_nothing_is_written_beside_the_images(folder: Path, tmp_path: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    find(folder, tmp_path)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_what_is_not_there_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone: no such file .*a folder, a glob such as"):
        find(tmp_path / "gone", tmp_path)
    with pytest.raises(InputError, match=r"\*\.tif: no such file"):
        find(folder / "*.tif", tmp_path)
    with pytest.raises(InputError, match=r"no images there \(1 other files\)"):
        find(folder / "readme.md", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no images there\. It takes"):
        find(tmp_path / "empty", tmp_path)


def test_nothing_left_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image is left\. 1 of 1 images are in the labelled set"):
        find(folder / "a.png", tmp_path, exclude=(folder / "a.png",))
    (folder / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"no image is left\. 1 of 1 images cannot be used .*x.png \(empty\)"):
        find(folder / "x.png", tmp_path)


@pytest.mark.parametrize(
    ("name", "codec"), [("v.avi", "MJPG"), ("v.mp4", "mp4v"), ("V.MOV", "mp4v"), ("v.mkv", "mp4v")]
)
def test_a_video_becomes_its_frames(tmp_path: Path, name: str, codec: str) -> None:
    found = find(write_video(tmp_path / name, 7, codec), tmp_path)
    assert names(found) == [f"{i:08d}.jpg" for i in range(7)]
    assert {file.parent for file in found.files} == {tmp_path / "frames"}
    means = [cv2.imread(str(file)).mean() for file in found.files]
    assert np.allclose(means, [10 * i for i in range(7)], atol=4)
    assert found.notes == (f"7 frames of {tmp_path / name} are in {tmp_path / 'frames'}",)


def test_of_a_long_video_frames_are_spread_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 5)
    files = video_frames(write_video(tmp_path / "v.avi", 21), tmp_path / "frames")
    assert [int(file.stem) for file in files] == [0, 5, 10, 15, 20]
    assert np.allclose([cv2.imread(str(file)).mean() for file in files], [0, 50, 100, 150, 200], atol=4)


class WrongLength:
    """OpenCV's reader of a file whose header is wrong about its length."""

    said = 0
    real = cv2.VideoCapture

    def __init__(self, name: str) -> None:
        capture = WrongLength.real(name)
        self.grab, self.read, self.release = capture.grab, capture.read, capture.release

    def get(self, _key: int) -> float:
        return self.said


@pytest.mark.parametrize("said", [0, -1, 30])
def test_a_video_that_says_its_length_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int) -> None:
    video = write_video(tmp_path / "v.avi", 4)
    monkeypatch.setattr(frames.cv2, "VideoCapture", WrongLength)
    monkeypatch.setattr(WrongLength, "said", said)
    assert [int(file.stem) for file in video_frames(video, tmp_path / "frames")] == [0, 1, 2, 3]


def test_frames_are_reused_when_complete_and_redone_when_not(tmp_path: Path) -> None:
    video, folder = write_video(tmp_path / "v.avi", 4), tmp_path / "frames"
    first = video_frames(video, folder)
    times = [file.stat().st_mtime_ns for file in first]
    assert [file.stat().st_mtime_ns for file in video_frames(video, folder)] == times
    first[2].unlink()
    assert video_frames(video, folder) == first
    assert all(file.is_file() for file in first)
    write_video(video, 6)  # another video under the same name
    assert len(video_frames(video, folder)) == 6
    (folder / "meta.json").write_text("{")
    assert len(video_frames(video, folder)) == 6
    assert json.loads((folder / "meta.json").read_text())["frames"] == 6


def test_a_cut_off_extraction_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video, folder = write_video(tmp_path / "v.avi", 4), tmp_path / "frames"
    write, written = frames.write_image, []

    def until_third(file: Path, image: np.ndarray, **settings: bool) -> Path:
        written.append(file)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(file, image, **settings)

    monkeypatch.setattr(frames, "write_image", until_third)
    with pytest.raises(KeyboardInterrupt):
        video_frames(video, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["v.avi"]
    monkeypatch.setattr(frames, "write_image", write)
    assert len(video_frames(video, folder)) == 4


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"v\.mp4 cannot be read as a video"):
        find(tmp_path / "v.mp4", tmp_path)
    assert not (tmp_path / "frames").exists()


def test_videos_among_images_are_passed_over(folder: Path, tmp_path: Path) -> None:
    write_video(folder / "v.avi", 2)
    found = find(folder, tmp_path)
    assert names(found) == ["a.png", "b.jpg", "c.PNG", "d.bmp"]
    assert found.notes == (f"1 videos in {folder} are passed over: a video is named by itself",)
    write_video(folder / "w.avi", 2)
    with pytest.raises(InputError, match=r"no images there \(2 videos: name one of them\)"):
        find(folder / "*.avi", tmp_path)
