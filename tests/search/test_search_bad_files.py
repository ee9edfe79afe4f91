"""Damaged galleries, runs of tracks and ledgers, also from strangers: exit code 3 and one message."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs the extra search")

from kd_yolo.base.errors import InputError
from kd_yolo.search.gallery.gallery import Gallery
from tests.search.bad_helpers import CROPS, code_of, content

DAMAGED = [
    ("gallery.json", b"{"),
    ("gallery.json", b"[1]"),
    ("gallery.json", b"\xff\xfe"),
    ("gallery.json", b"[" * 100_000),
    ("gallery.json", b'{"format": "kd-yolo gallery", "model": "", "dim": -1}'),
    ("gallery.json", b'{"version": 99}'),
    ("gallery.json", "fifo"),
    ("gallery.json", "folder"),
    ("gallery.json", "shards"),
    ("gallery.json", "dim"),
    ("vectors/000000.npy", b""),
    ("vectors/000000.npy", b"\x93NUMPY"),
    ("vectors/000000.npy", b"x" * 10_000),
    ("vectors/000000.npy", "fifo"),
    ("vectors/000000.npy", "folder"),
    ("rows/000000.parquet", b""),
    ("rows/000000.parquet", b"PAR1" + b"x" * 100 + b"PAR1"),
    ("rows/000000.parquet", "fifo"),
    ("rows/000000.parquet", "folder"),
    (".lock", "fifo"),
    (".lock", "folder"),
]


def damage(file: Path, how: bytes | str) -> None:
    """Replaces a file by bytes, a pipe, a folder, or a manifest that claims too much."""
    if how in ("shards", "dim"):
        values = json.loads(file.read_text())
        values["dim"] = 1 << 20 if how == "dim" else values["dim"]
        values["shards"][0]["count"] = 10**11 if how == "shards" else values["shards"][0]["count"]
        file.write_text(json.dumps(values))
        return
    file.unlink(missing_ok=True)
    if how == "fifo":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()
    else:
        assert isinstance(how, bytes)
        file.write_bytes(how)


@pytest.mark.parametrize(("name", "how"), DAMAGED, ids=lambda value: str(value)[:30])
def test_damaged_galleries(name: str, how: bytes | str, bad_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bad_place / "g", bad_place / "broken")
    damage(bad_place / "broken" / name, how)
    for line in (
        f"query set/query/{CROPS[0]} --gallery broken --weights reid.pt",
        "forget --person 1 --gallery broken",
    ):
        assert code_of(["search", *line.split(" ")]) == 3, line
        assert "Traceback" not in capsys.readouterr().err


def runs() -> Iterator[tuple[str, bytes | str]]:
    for name in ("meta.json", "tracks.parquet", "vectors.npz"):
        yield from ((name, how) for how in (b"", b"{", b"[1]", b"PAR1PAR1", b"PK\3\4" + bytes(40), "fifo", "folder"))
    yield ("meta.json", b'{"source": 1, "camera": "x", "num_frames": null, "fps": {}, "whole": 2, "network": []}')


@pytest.fixture(scope="module")
def tracked(bad_files: Path) -> Path:
    """A run of `search track`."""
    from kd_yolo.search.tracks.run import track_all
    from tests.search.track_helpers import tools

    track_all([str(bad_files / "cam1.avi")], bad_files / "tracked", tools(), lambda _: None)
    return bad_files / "tracked"


def test_all_videos_are_looked_for_before_the_first_is_followed(bad_files: Path, tmp_path: Path) -> None:
    from kd_yolo.search.tracks.run import track_all
    from tests.search.track_helpers import tools

    with pytest.raises(InputError, match="gone"):
        track_all([str(bad_files / "cam1.avi"), str(tmp_path / "gone.mp4")], tmp_path / "out", tools(), pytest.fail)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "how"), list(runs()), ids=lambda value: str(value)[:30])
def test_damaged_runs(
    name: str, how: bytes | str, tracked: Path, bad_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tracked, bad_place / "broken")
    damage(bad_place / "broken" / "cam1" / name, how)
    before = content(bad_place / "broken")
    assert code_of(["search", "link", "broken", "--no-video"]) == 3
    assert "does not hold the tracks" in capsys.readouterr().err or (name, how) == ("tracks.parquet", "folder")
    assert content(bad_place / "broken") == before


def test_compressed_vectors_are_refused(tracked: Path, bad_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A megabyte of an archive can hold terabytes."""
    shutil.copytree(tracked, bad_place / "broken")
    vectors = np.zeros((1000, 1000), np.float32)
    np.savez_compressed(bad_place / "broken" / "cam1" / "vectors.npz", tracks=np.zeros(1000, np.int64), vectors=vectors)
    assert code_of(["search", "link", "broken", "--no-video"]) == 3
    assert "is compressed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["crops.json", "inputs.json", "parts/00000001.json"])
@pytest.mark.parametrize("how", [b"", b"[1]", b'{"cam1.avi": 7}', b"{" * 9999, "fifo", "folder"], ids=str)
@pytest.mark.usefixtures("fakes")
def test_damaged_ledgers(name: str, how: bytes | str, bad_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["crops", "cam1.avi", "--out", "cut"]) == 0
    damage(bad_place / "cut" / name, how)
    assert code_of(["crops", "cam1.avi", "--out", "cut"]) in (2, 3)
    assert "Traceback" not in capsys.readouterr().err


def test_names_of_a_strangers_gallery_cannot_reach_the_terminal(
    bad_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = Gallery.create(bad_place / "h", "0" * 16, 3)
    row = {"source": "a\x1b]0;owned\x07\n.mp4", "frame": 0, "seconds": 0.0, "camera": 1, "track": 1, "x1": 0, "y1": 0,
           "x2": 1, "y2": 1, "score": 1.0, "identity": "\x1b[2J\u202e"}  # fmt: skip
    gallery.add(np.eye(3, dtype=np.float32)[:1], [row], [b"\xff\xd8\xff"])
    from kd_yolo.cli.search.gallery import _print_matches
    from kd_yolo.search.gallery.query import nearest_crops

    _print_matches(nearest_crops(gallery, np.eye(3, dtype=np.float32)[0], 1))
    out = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07\\n.mp4" in out
    assert all(char.isprintable() or char == "\n" for char in out)
