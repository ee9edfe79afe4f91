"""Bad input to every command of search and crops: the documented exit code, one message, and an unharmed gallery."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("faiss", reason="needs the extra search")

from kd_yolo.cli import run as frame
from kd_yolo.cli.app import main
from kd_yolo.search.gallery import Gallery
from tests.reid.data_helpers import write_picture
from tests.search.crops_helpers import BrightDetector, write_video
from tests.search.gallery_helpers import save_network
from tests.search.test_search_serve_patience import png_of
from tests.search.track_helpers import truth_text, two_walk

CROPS = [f"{who:04d}_c{camera}s1_000001_00.jpg" for who in (1, 2, 3) for camera in (1, 2)]
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, a ReID set, a gallery, a video with its truth, a run of `search track`, and all kinds of bad files."""
    folder = tmp_path_factory.mktemp("bad")
    save_network(folder / "reid.pt")
    for part in ("query", "bounding_box_test"):
        for number, name in enumerate(CROPS):
            write_picture(folder / "set" / part / name, number)
    words = ["search", "index", str(folder / "set"), "--weights", str(folder / "reid.pt"), "--gallery"]
    assert main([*words, str(folder / "g")]) == 0
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
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Links to what was made; tests that damage something make copies."""
    for path in made.iterdir():
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
    from kd_yolo.search.detector import PersonDetector

    def opened(cls: object, settings: object, *, trust: bool = False) -> BrightDetector:
        return BrightDetector()

    monkeypatch.setattr(PersonDetector, "open", classmethod(opened))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def code_of(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as error:  # of the parser
        return int(error.code or 0)


QUERY = f"query set/query/{CROPS[0]} --gallery g"
GALLERY_CASES = [
    ("index none --gallery g", 3),
    ("index pipe --gallery g", 3),
    ("index cam1.avi --gallery g", 3),
    ("index empty --gallery g", 3),
    ("index nofile --gallery g", 3),
    ("index escape --gallery g", 3),
    ("index notable --gallery g", 3),
    ("index set --gallery g --kind x", 2),
    ("index set --gallery g --subset x", 2),
    ("index set --gallery g --weights pipe", 3),
    ("index set --gallery g --weights bad.onnx", 3),
    ("index set --gallery g --weights cam1.avi", 3),
    ("index set --gallery full --weights reid.pt", 2),
    ("index set --gallery cam1.avi --weights reid.pt", 2),
    (f"index {'x' * 300} --gallery g", 3),
    (f"index set --gallery {'x/' * 3000}", 3),
    ("index set --galery g", 2),
    ("query", 2),
    ("query none.jpg --gallery g", 3),
    ("query pipe.jpg --gallery g", 3),
    ("query /dev/zero --gallery g", 3),
    ("query text.jpg --gallery g", 3),
    ("query empty.png --gallery g", 3),
    ("query bomb.png --gallery g", 3),
    ("query set --gallery g", 3),
    ("query a\0b --gallery g", 3),
    (f"query {'x' * 300} --gallery g", 3),
    (f"{QUERY} --top 0", 2),
    (f"{QUERY} --top -5", 2),
    (f"{QUERY} --top 1e9", 2),
    (f"{QUERY} --top 1000000000", 2),
    (f"{QUERY} --threshold nan", 2),
    (f"{QUERY} --threshold inf", 2),
    (f"{QUERY} --threshold 3", 2),
    (f"{QUERY} --nth 0", 2),
    (f"{QUERY} --whole --nth 1", 2),
    (f"{QUERY} --whole --detector yolov8n.pt", 2),
    (f"{QUERY} --detector none.pt", 3),
    (f"{QUERY} --detector pipe", 3),
    (f"{QUERY} --out x.foo", 2),
    (f"{QUERY} --out x", 2),
    (f"{QUERY} --out x.mp4", 2),
    (f"{QUERY} --out empty", 2),
    (f"{QUERY} --weights none.pt", 3),
    (f"query set/query/{CROPS[0]} --gallery none", 3),
    (f"query set/query/{CROPS[0]} --gallery cam1.avi", 3),
    (f"query set/query/{CROPS[0]} --gallery pipe", 3),
    ("calibrate --pairs none --gallery g", 3),
    ("calibrate --pairs set --gallery g --far 0", 2),
    ("calibrate --pairs set --gallery g --far nan", 2),
    ("calibrate --pairs set --gallery g --far -1", 2),
    ("calibrate --pairs set --gallery g --far 1", 2),
    ("calibrate --pairs empty --gallery g", 3),
    ("calibrate --gallery g", 2),
    ("forget --gallery g", 2),
    ("forget --gallery g --source /", 2),
    ("forget --gallery g --source .", 2),
    ("forget --gallery g --track 1", 2),
    ("forget --gallery g --from nan", 2),
    ("forget --gallery g --to nan", 2),
    ("forget --gallery g --from 5 --to 1", 2),
    ("forget --gallery g --from -1", 2),
    ("forget --gallery g --from inf", 2),
    ("forget --gallery g --places", 2),
    ("forget --gallery g --places x", 2),
    ("forget --gallery g --places 999", 3),
    ("forget --gallery g --person nobody", 3),
    ("forget --gallery none --person 1", 3),
    ("forget --gallery pipe --person 1", 3),
    ("serve --port 65536", 2),
    ("serve --port -1", 2),
    ("serve --port 1.5", 2),
    ("serve --port 0 --gallery none", 3),
    ("serve --port 0 --gallery g --max-mb -1", 2),
    ("serve --port 0 --gallery g --max-mb nan", 2),
    ("serve --port 0 --gallery g --max-megapixels 0", 2),
    ("serve --port 0 --gallery g --conf 2", 2),
    ("serve --port 0 --gallery g --conf nan", 2),
    ("serve --port 0 --gallery g --imgsz 0", 2),
    ("serve --port 0 --gallery g --reid none.pt", 3),
    ("serve --port 0 --gallery g --reid pipe", 3),
]


@pytest.mark.parametrize(("line", "code"), GALLERY_CASES, ids=lambda value: str(value)[:60])
def test_galleries(line: str, code: int, place: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(made / "g")
    assert code_of(["search", *line.split(" ")]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.strip()
    assert len(err) < 4000
    assert content(made / "g") == before
    assert not (place / "ranking.png").exists()


@pytest.mark.parametrize("flag", ["--source", "--person"])
@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--places", "0"], ["--from", "0"]])
@pytest.mark.parametrize("value", ["", " ", "\t"])
def test_an_unset_variable_of_the_shell(flag: str, more: list[str], value: str, place: Path, made: Path) -> None:
    before = content(made / "g")
    assert code_of(["search", "forget", "--gallery", "g", flag, value, *more]) == 2
    assert content(made / "g") == before


TRACK = "track cam1.avi --out run --no-video"
TRACK_CASES = [
    ("track", 2),
    ("track none.mp4 --out run", 3),
    ("track pipe --out run", 3),
    ("track /dev/zero --out run", 3),
    ("track text.mp4 --out run", 3),
    ("track empty.mp4 --out run", 3),
    ("track noise.mp4 --out run", 3),
    ("track empty --out run", 3),
    ("track self.txt --out run", 3),
    ("track bin.txt --out run", 3),
    ("track gone.txt --out run", 3),
    ("track text.jpg --out run", 3),
    ("track bomb.png --out run", 3),
    ("track cam1.avi cam1.avi --out run", 2),
    (f"track {'x' * 300} --out run", 3),
    ("track cam1.avi --out cam1.csv", 2),
    (f"{TRACK} --tracker nope", 2),
    (f"{TRACK} --tracker none.yaml", 2),
    (f"{TRACK} --tracker bad.yaml", 2),
    (f"{TRACK} --tracker list.yaml", 2),
    (f"{TRACK} --tracker nokind.yaml", 2),
    (f"{TRACK} --tracker tracker.yaml --start 0.5", 2),
    (f"{TRACK} --tracker bytetrack --moving", 2),
    (f"{TRACK} --tracker ocsort --appearance 0.5", 2),
    (f"{TRACK} --appearance 0.5", 2),
    (f"{TRACK} --appearance nan", 2),
    (f"{TRACK} --proximity 0.5", 2),
    (f"{TRACK} --link 0.3", 2),
    (f"{TRACK} --link nan", 2),
    (f"{TRACK} --link -1", 2),
    (f"{TRACK} --start nan", 2),
    (f"{TRACK} --start 0", 2),
    (f"{TRACK} --start 1", 2),
    (f"{TRACK} --buffer 0", 2),
    (f"{TRACK} --best 0", 2),
    (f"{TRACK} --min-frames 0", 2),
    (f"{TRACK} --imgsz 0", 2),
    (f"{TRACK} --imgsz 100000", 2),
    (f"{TRACK} --reid none.onnx", 3),
    (f"{TRACK} --reid reid.pt", 3),
    (f"{TRACK} --reid bad.onnx", 3),
    (f"{TRACK} --truth none", 3),
    (f"{TRACK} --truth pipe", 3),
    (f"{TRACK} --truth none.csv", 3),
    (f"{TRACK} --truth twice.csv", 3),
    (f"{TRACK} --truth words.csv", 3),
    (f"{TRACK} --truth cars.csv", 3),
    (f"{TRACK} --truth bin.txt", 3),
    (f"{TRACK} --truth cam1.csv cam1.csv", 2),
    (f"{TRACK} --truth cam1.csv --same-people", 2),
    ("link none", 3),
    ("link empty", 3),
    ("link cam1.avi", 3),
    ("link empty --threshold nan", 2),
    ("link empty --threshold 3", 2),
    ("link empty --threshold -1", 2),
]


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("line", "code"), TRACK_CASES, ids=lambda value: str(value)[:60])
def test_tracks(line: str, code: int, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["search", *line.split(" ")]) == code
    err = capsys.readouterr().err
    assert err.strip()
    assert "Traceback" not in err
    assert not (place / "run" / "persons.csv").exists()


CROPS_CASES = [
    ("none.mp4", 3),
    ("pipe", 3),
    ("pipe.jpg", 3),
    ("/dev/zero", 3),
    ("text.mp4", 3),
    ("empty.png", 3),
    ("bomb.png", 3),
    ("empty", 3),
    ("self.txt", 3),
    ("bin.txt", 3),
    ("gone.txt", 3),
    ("none/*.jpg", 3),
    ("a\0b", 3),
    ("x" * 300, 3),
    ("cam1.avi --out full", 2),
    ("cam1.avi --out cam1.csv", 2),
    ("cam1.avi --conf nan", 2),
    ("cam1.avi --conf 1", 2),
    ("cam1.avi --iou 0", 2),
    ("cam1.avi --batch 0", 2),
    ("cam1.avi --stride 0", 2),
    ("cam1.avi --camera -1", 2),
    ("cam1.avi --pad nan", 2),
    ("cam1.avi --pad 2", 2),
    ("cam1.avi --aspect 0", 2),
    ("cam1.avi --aspect inf", 2),
    ("cam1.avi --blur-min -1", 2),
    ("cam1.avi --blur-min inf", 2),
    ("cam1.avi --max-truncated 5", 2),
    ("cam1.avi --min-height 0", 2),
    ("cam1.avi --imgsz 1", 2),
    ("cam1.avi --workers 2", 2),
    ("cam1.avi --engine x", 2),
    ("cam1.avi --recipe none", 2),
    ("cam1.avi --recipe bad.yaml", 2),
    ("cam1.avi --embed none.pt", 3),
    ("cam1.avi --embed pipe", 3),
]


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("line", "code"), CROPS_CASES, ids=lambda value: str(value)[:60])
def test_crops(line: str, code: int, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["crops", *line.split(" ")]) == code
    err = capsys.readouterr().err
    assert err.strip()
    assert "Traceback" not in err


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
def test_damaged_galleries(name: str, how: bytes | str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(place / "g", place / "broken")
    damage(place / "broken" / name, how)
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
def tracked(made: Path) -> Path:
    """A run of `search track`."""
    from kd_yolo.search.track_run import track_all
    from tests.search.track_helpers import tools

    track_all([str(made / "cam1.avi")], made / "tracked", tools(), lambda _: None)
    return made / "tracked"


@pytest.mark.parametrize(("name", "how"), list(runs()), ids=lambda value: str(value)[:30])
def test_damaged_runs(
    name: str, how: bytes | str, tracked: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tracked, place / "broken")
    damage(place / "broken" / "cam1" / name, how)
    before = content(place / "broken")
    assert code_of(["search", "link", "broken", "--no-video"]) == 3
    assert "does not hold the tracks" in capsys.readouterr().err or (name, how) == ("tracks.parquet", "folder")
    assert content(place / "broken") == before


def test_compressed_vectors_are_refused(tracked: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A megabyte of an archive can hold terabytes."""
    shutil.copytree(tracked, place / "broken")
    vectors = np.zeros((1000, 1000), np.float32)
    np.savez_compressed(place / "broken" / "cam1" / "vectors.npz", tracks=np.zeros(1000, np.int64), vectors=vectors)
    assert code_of(["search", "link", "broken", "--no-video"]) == 3
    assert "is compressed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["crops.json", "inputs.json", "parts/00000001.json"])
@pytest.mark.parametrize("how", [b"", b"[1]", b'{"cam1.avi": 7}', b"{" * 9999, "fifo", "folder"], ids=str)
@pytest.mark.usefixtures("fakes")
def test_damaged_ledgers(name: str, how: bytes | str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["crops", "cam1.avi", "--out", "cut"]) == 0
    damage(place / "cut" / name, how)
    assert code_of(["crops", "cam1.avi", "--out", "cut"]) in (2, 3)
    assert "Traceback" not in capsys.readouterr().err


def test_names_of_a_strangers_gallery_cannot_reach_the_terminal(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = Gallery.create(place / "h", "0" * 16, 3)
    row = {"source": "a\x1b]0;owned\x07\n.mp4", "frame": 0, "seconds": 0.0, "camera": 1, "track": 1, "x1": 0, "y1": 0,
           "x2": 1, "y2": 1, "score": 1.0, "identity": "\x1b[2J\u202e"}  # fmt: skip
    gallery.add(np.eye(3, dtype=np.float32)[:1], [row], [b"\xff\xd8\xff"])
    from kd_yolo.cli.search_gallery import _print_matches
    from kd_yolo.search.query import ask

    _print_matches(ask(gallery, np.eye(3, dtype=np.float32)[0], 1))
    out = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07\\n.mp4" in out
    assert all(char.isprintable() or char == "\n" for char in out)
