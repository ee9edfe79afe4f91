"""Strange ReID sets: what cannot be read is named, nothing waits, and copies among the queries are counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.reid.data import decode
from kd_yolo.reid.data.copies import copy_notes, num_copies
from kd_yolo.reid.data.decode import is_readable, read_rgb
from kd_yolo.reid.data.sample import Sample
from kd_yolo.reid.data.sets import read_reid_set
from kd_yolo.reid.data.split import HELD_OUT_FEW, hold_out
from tests.reid.data_helpers import good_set, made_up, write_image


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that says that it is large, and has no pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"x\x9c") + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    "kind", ["pipe", "folder", "huge", "cut", "text", "empty", "device", "dangling", "nul", "long", "zeros"]
)
def test_images_that_are_none(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "0001_c1.png"
    whole = write_image(tmp_path / "whole.png").read_bytes()
    makers = {
        "pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "huge": lambda: png_header(path, 60_000, 60_000),
        "cut": lambda: path.write_bytes(whole[: len(whole) // 2]), "text": lambda: path.write_text("text"),
        "empty": path.touch, "device": lambda: path.symlink_to("/dev/zero"),
        "dangling": lambda: path.symlink_to("gone"), "zeros": lambda: path.write_bytes(bytes(5000)),
        "nul": lambda: None, "long": lambda: None,
    }  # fmt: skip
    makers[kind]()
    path = {"nul": tmp_path / "a\0b.png", "long": tmp_path / f"{'x' * 300}.png"}.get(kind, path)
    assert not is_readable(path)
    with pytest.raises(InputError) as error:
        read_rgb(path)
    assert len(str(error.value)) < 700


def test_the_list_of_exceptions_is_that_of_the_ground_floor() -> None:
    from kd_yolo.base.images import UNREADABLE

    assert set(UNREADABLE) < set(decode.DAMAGED)
    assert decode.MAX_CROP_PIXELS == Image.MAX_IMAGE_PIXELS


def test_one_pipe_among_crops_is_left_out(tmp_path: Path) -> None:
    good_set(tmp_path)
    os.mkfifo(tmp_path / "query" / "0011_c1s1_000009_00.jpg")
    found = read_reid_set(tmp_path, max_rank=1)
    assert len(found.query) == 2
    assert "1 of 3 query image(s)" in " ".join(found.notes)


NAMES = [
    "0011_c1s1_9.jpg", "0011_c1_\udcff.jpg", f"{'9' * 60}_c1s1_1.jpg", f"0011_c{'9' * 60}s1_1.jpg", "_c1.jpg", " .jpg",
    "--1_c1.jpg", "0011_c.jpg", "٣_c٣s1.jpg", "a" * 240 + ".jpg", "0011_c1s1_9\n.jpg", "-1_c1.jpg",
]  # fmt: skip


def test_strange_names_are_passed_over_or_read(tmp_path: Path) -> None:
    good_set(tmp_path)
    for number, name in enumerate(NAMES):
        shutil.copy(write_image(tmp_path / "spare.jpg", 100 + number), tmp_path / "bounding_box_test" / name)
    (tmp_path / "spare.jpg").unlink()
    found = read_reid_set(tmp_path, max_rank=1)
    assert all(abs(sample.identity) < 2**53 and sample.camera < 2**53 for sample in found.gallery)
    assert len(found.sha256) == 64
    "\n".join(found.notes).encode("utf-8")  # every terminal can show them


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/etc/0_0_1_x.jpg 0", "is not inside"),
        ("../0_0_1_x.jpg 0", "is not inside"),
        ("a/../../0_0_1_x.jpg 0", "is not inside"),
        ("0_0_1_x.jpg", "expected path and identity"),
        ("0_0_1_x.jpg x", "expected path"),
        ("0_0_x_x.jpg 0", "expected path"),
        (f"0_0_1_x.jpg {'9' * 5000}", "expected path"),
        ("0_0_1_x.jpg -1", "expected path"),
        ("0_0_1_x.jpg 0", "cannot be read"),
        ("\0_0_1_x.jpg 0", "cannot be read"),
        (f"{'x' * 300}_0_1_x.jpg 0", "cannot be read"),
        ("\xff 0", "expected path"),
    ],
)  # fmt: skip
def test_lines_of_msmt17(line: str, message: str, tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    for name in ("train", "query", "gallery"):
        (tmp_path / f"list_{name}.txt").write_bytes(b"\xef\xbb\xbf" + line.encode("utf-8") + b"\r\n")
    with pytest.raises(InputError, match=message) as error:
        read_reid_set(tmp_path)
    assert len(str(error.value)) < 900


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    for name in ("train", "query", "gallery"):
        (tmp_path / f"list_{name}.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"list_train\.txt is not a text file"):
        read_reid_set(tmp_path)


@pytest.mark.parametrize("name", ["gone", "x" * 300, "a\0b", "file"])
def test_folders_that_are_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="ReID folder"):
        read_reid_set(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    good_set(tmp_path)
    (tmp_path / "query").chmod(0)
    try:
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            read_reid_set(tmp_path)
    finally:
        (tmp_path / "query").chmod(0o755)


def test_copies_are_counted(tmp_path: Path) -> None:
    """Two of three queries are in the gallery and one in training, under other names; a larger file is like none."""
    train, query, gallery = ([Sample(write_image(tmp_path / part / f"{i}.png", 10 * n + i), i, 1) for i in range(3)]
                             for n, part in enumerate(("train", "query", "gallery")))  # fmt: skip
    assert copy_notes(train, query, gallery) == []
    shutil.copy(query[0].path, gallery[2].path)
    shutil.copy(query[1].path, gallery[0].path)
    shutil.copy(query[2].path, train[1].path)
    same_size = query[2].path.read_bytes()
    gallery[1].path.write_bytes(same_size[:-1] + b"\0")
    assert (num_copies(query, gallery), num_copies(query, train)) == (2, 1)
    ours, training = copy_notes(train, query, gallery)
    assert ours.startswith("warning: 2 of 3 query images are byte-for-byte copies of gallery images")
    assert training.startswith("warning: 1 of 3 query images are byte-for-byte copies of train images")
    gallery[2].path.unlink()
    assert num_copies(query, gallery) == 1


def test_a_set_says_its_copies(tmp_path: Path) -> None:
    good_set(tmp_path)
    source = next((tmp_path / "query").iterdir())
    shutil.copy(source, tmp_path / "bounding_box_test" / source.name)
    assert "1 of 2 query images are byte-for-byte copies of gallery" in " ".join(read_reid_set(tmp_path).notes)


def test_few_held_out_identities_are_said() -> None:
    views = [(identity, camera, 2) for identity in range(100) for camera in (1, 2)]
    few, enough = hold_out(made_up(*views), 0.1, 0), hold_out(made_up(*views), 0.2, 0)
    assert few.notes[0].startswith(f"warning: 10 identities are held out, fewer than {HELD_OUT_FEW}")
    assert "train.holdout=0.2 holds 20 out" in few.notes[0]
    assert enough.notes == hold_out(made_up(*views), 0, 0).notes == ()
    assert "use more data" in hold_out(made_up(*views[:20]), 0.2, 0).notes[0]
