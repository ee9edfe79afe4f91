"""Folders as people have them: natural order, every kind of image, links, pipes, names of any bytes, changed files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import printable
from kd_yolo.search.frames.frame_types import Frame, People
from kd_yolo.search.frames.listing import IMAGES, PassedFiles, list_folder
from kd_yolo.search.frames.sources import Reader, find_inputs
from kd_yolo.search.gallery.crop_sources import list_crops
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.indexing import index_crops
from kd_yolo.search.tracks.best_crops import BestCrops
from kd_yolo.search.tracks.follow import track_video
from tests.search.page_helpers import FakeEmbedder
from tests.search.track_helpers import tools, two_walk, write_two


def paint(file: Path, value: int = 0, size: tuple[int, int] = (8, 16)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, {".jfif": "JPEG", ".jpe": "JPEG"}.get(file.suffix))
    return file


def silent(_: str) -> None: ...


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"{folder}/{number}.png" for folder in (".", "a2", "a10") for number in (1, 2, 9, 10, 11, 100)]
    for name in sorted(names):
        paint(tmp_path / "in" / name)
    names = [name.removeprefix("./") for name in names]
    for source in (tmp_path / "in", f"{tmp_path}/in/**/*.png"):
        found = [str(Path(file.name).relative_to(tmp_path / "in")) for file in find_inputs(str(source))]
        assert found == names
    assert [str(source.path.relative_to(tmp_path / "in")) for source in list_crops(tmp_path / "in").sources] == names


def test_every_kind_of_image_is_read_and_the_rest_is_said(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JFIF", "c.jpe", "d.gif", "e.bmp", "f.ppm", "g.tga"):
        paint(tmp_path / "in" / name.lower()).rename(tmp_path / "in" / name)
    for name in ("notes.txt", "more.txt", "table.docx", "Makefile", ".hidden.jpg"):
        (tmp_path / "in" / name).touch()
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere")
    found = list_crops(tmp_path / "in")
    assert len(found.sources) == 7
    assert "6 files passed over: " in found.notes[-1]
    assert "2 of kind '.txt'" in found.notes[-1]
    assert "2 that are no files (pipes, devices, links to nothing)" in found.notes[-1]
    said: list[str] = []
    inputs = find_inputs(str(tmp_path / "in"), say=said.append)
    assert [one.kind for one in inputs] == ["image"] * 3 + ["video"] + ["image"] * 3, "a GIF is a film"
    assert "6 files passed over" in said[0]
    assert len(list(Reader(say=silent).read(inputs))) == 7


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    paint(tmp_path / "other" / "x.png")
    paint(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert [file.name for file in list_folder(tmp_path / "in", IMAGES)] == ["a.png", "x.png"]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes((tmp_path / "a.png").read_bytes())
    passed = PassedFiles()
    assert [file.name for file in list_folder(tmp_path, IMAGES, passed)] == ["a.png"]
    assert "1 with a name that is not UTF-8" in str(passed.line("x"))
    assert printable("a\x1b[31m\n\u202eb\udcff\u00e5") == "a\\x1b[31m\\n\\u202eb\\udcff\u00e5"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("pipe", "is a pipe"),
        ("list.txt", "is a list itself"),
        ("nul.txt", "cannot be"),
        ("a\0b", "cannot be opened"),
        ("x" * 300, "cannot be opened: File name too long"),
        ("x/" * 3000, "cannot be opened"),
        ("/dev/zero", "is a device"),
        ("\udcff", "is not UTF-8"),
        ("\u0663", "no such file"),
    ],
)
def test_sources_that_would_hang_or_fail(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("list.txt").write_text("list.txt\n")
    Path("nul.txt").write_bytes(b"a\0b.jpg\n" + b"y" * 300 + b"\n")
    with pytest.raises(InputError, match=words) as caught:
        list(Reader(say=silent).read_all(source, find_inputs(source)))
    assert len(str(caught.value)) < 1500


def test_pipes_in_a_list_are_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "film.mp4")
    os.mkfifo(tmp_path / "image.jpg")
    paint(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("film.mp4\nimage.jpg\n/dev/zero\na.png\n")
    said: list[str] = []
    frames = list(Reader(say=said.append).read(find_inputs(str(tmp_path / "list.txt"))))
    assert [Path(frame.source).name for frame in frames] == ["a.png"]
    assert len(said) == 3


def test_frames_of_a_folder_count_as_those_of_a_film(tmp_path: Path) -> None:
    """A track of a folder keeps several crops, each with its number; so does the run as a whole."""
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    kept = []
    for is_film in (True, False):
        best = BestCrops(8)
        for index in range(24):
            person = People(np.array([[10, 10, 40, 90]], np.float32), np.array([0.9], np.float32), np.array([1]))
            best.offer(Frame("x", index * is_film, None, 1, image), person)
        kept.append([crop.index for crop in best.of(1)])
    assert kept[0] == kept[1]
    assert len(kept[0]) == 8
    import cv2

    for index, frame in enumerate(two_walk(12), 1):
        (tmp_path / "img1").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "img1" / f"{index}.png"), frame)
    track_video(str(tmp_path / "img1"), 0, tmp_path / "out", tools(), silent)
    table = pl.read_parquet(tmp_path / "out" / "crops.parquet")
    assert table["file"].n_unique() == len(table) > 4
    for line in table.iter_rows(named=True):
        assert Path(line["source"]).stem == str(line["frame"] + 1), "the file of that frame"
        assert (tmp_path / "out" / line["file"]).is_file()


def test_a_track_is_nobodys_identity(tmp_path: Path) -> None:
    """Whatever part of a run of `search track` is named: the run, a video's folder, its crops."""
    videos = write_two(tmp_path / "in")
    for place, video in enumerate(videos, 1):
        track_video(video, place, tmp_path / "run" / f"cam{place}", tools(), silent)
    paint(tmp_path / "run" / "7777_c3s1_000001_00.jpg")
    for folder, count in (("run", None), ("run/cam1", None), ("run/cam1/crops", None), ("", None)):
        found = list_crops(tmp_path / folder, count)
        ours = [source for source in found.sources if source.row["track"] >= 0]
        assert len(ours) > 4
        assert {source.row.get("identity") for source in ours} == {None}
        assert {source.row["source"] for source in ours} <= set(videos)
        assert all(source.row["seconds"] is not None for source in ours)
        assert any("nobody's identity" in note for note in found.notes)
        others = [source.row["identity"] for source in found.sources if source.row["track"] < 0]
        assert others == (["7777"] if folder in ("run", "") else []), "a name that says who it is still counts"


def gallery_of(folder: Path) -> tuple[Gallery, Any]:
    fake: Any = FakeEmbedder()
    return Gallery.create(folder, fake.hash, fake.dim), fake


@pytest.mark.parametrize("how", ["write", "keeps_time", "other_size", "png", "older_file_moved"])
def test_a_changed_image_replaces_its_crop(how: str, tmp_path: Path) -> None:
    name = "a.png" if how == "png" else "a.jpg"
    for value, other in enumerate(("b.jpg", "c.jpg", name)):
        paint(tmp_path / "in" / other, value)
    new = paint(tmp_path / name, 99, (9, 17) if how == "other_size" else (8, 16))
    os.utime(new, (1, 1))
    gallery, fake = gallery_of(tmp_path / "g")
    assert index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent).added == 3
    again = index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent)
    assert (again.added, again.known, again.changed) == (0, 3, [])
    if how == "keeps_time":
        shutil.copy2(new, tmp_path / "in" / name)
    elif how == "older_file_moved":
        new.replace(tmp_path / "in" / name)
    else:
        (tmp_path / "in" / name).write_bytes(new.read_bytes())
    third = index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent)
    assert (third.added, third.known, third.changed) == (1, 2, [str(tmp_path / "in" / name)])
    assert len(gallery) == 3
    wanted = fake.embed([np.asarray(Image.open(tmp_path / "in" / name).convert("RGB"))])
    places, distances = gallery.query(wanted, 1)
    assert distances[0, 0] < 1e-5
    assert gallery.rows(places[0])[0]["source"].endswith(name)
    fourth = index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent)
    assert (fourth.added, fourth.changed) == (0, [])


def test_a_file_that_was_only_touched_is_the_same(tmp_path: Path) -> None:
    file = paint(tmp_path / "in" / "a.jpg")
    gallery, fake = gallery_of(tmp_path / "g")
    index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent)
    file.touch()
    assert index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent).changed == []
    file.write_bytes(b"broken")
    with pytest.raises(InputError, match="none of 1 new crops can be read"):
        index_crops(gallery, fake, list_crops(tmp_path / "in").sources, silent)
    assert len(gallery) == 1
