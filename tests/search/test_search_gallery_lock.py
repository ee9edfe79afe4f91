"""Two processes that write at once, and one that is killed: nothing is lost, nothing is half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.lock import locked
from kd_yolo.search.gallery import gallery as gallery_module
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.lock import writing
from tests.search.gallery_helpers import DIM, HASH, add, files, vectors

ROOT = Path(__file__).resolve().parents[2]
ADDER = """
import sys, time
from pathlib import Path
from kd_yolo.search.gallery import gallery as module
from kd_yolo.search.gallery.gallery import Gallery
from tests.search.gallery_helpers import DIM, HASH, add
folder, first, append = Path(sys.argv[1]), int(sys.argv[2]), module.append
def slow(*arguments):  # between reading and writing the state, so that the two meet there
    time.sleep(0.05)
    return append(*arguments)
module.append = slow
print("ready", flush=True)
sys.stdin.readline()
gallery = Gallery.create(folder, HASH, DIM)
for number in range(10):
    add(gallery, 3, first=first + 3 * number, seed=first + number)
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from kd_yolo.search.gallery import {module} as module
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.forget import CropFilter, forget
from tests.search.gallery_helpers import add
def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)
module.{function} = die
{work}
"""


def start(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_two_processes_that_add_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    adders = [start(ADDER, str(folder), str(first)) for first in (0, 1000)]
    for adder in adders:
        assert adder.stdout is not None
        assert adder.stdout.readline() == "ready\n"
    for adder in adders:
        assert adder.stdin is not None
        adder.stdin.write("go\n")
        adder.stdin.flush()
    assert [adder.wait(timeout=120) for adder in adders] == [0, 0]
    gallery = Gallery.open(folder)
    lines = gallery.rows(range(60))
    assert sorted(line["frame"] for line in lines) == [*range(30), *range(1000, 1030)]
    for line, found in zip(lines, gallery.vectors(range(60)), strict=True):
        first, number = (line["frame"] // 1000) * 1000, line["frame"] % 1000
        assert found == pytest.approx(vectors(3, first + number // 3)[number % 3], abs=1e-6)
    assert len(list((folder / "pictures").glob("*/*.jpg"))) == 60


@pytest.mark.parametrize(
    ("module", "function"),
    [("gallery", "append"), ("gallery", "write_manifest"), ("shards", "write_bytes"),
     ("lock", "sweep_files")],
)  # fmt: skip
def test_a_killed_add_leaves_the_gallery_whole(tmp_path: Path, module: str, function: str) -> None:
    gallery = Gallery.create(tmp_path / "g", HASH, DIM)
    made_nd = add(gallery, 4)
    before = files(gallery.folder)
    work = f"add(Gallery.open(Path({str(gallery.folder)!r})), 5, first=100)"
    killed = start(KILLED.format(module=module, function=function, work=work))
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    again = Gallery.open(gallery.folder)
    done = function == "sweep_files"  # after the manifest was renamed
    assert len(again) == (9 if done else 4)
    assert again.query(made_nd, 1)[0][:, 0].tolist() == [0, 1, 2, 3]
    assert files(gallery.folder) > before
    with writing(gallery.folder):
        pass
    if not done:
        assert files(gallery.folder) == before
    assert add(again, 5, first=100, seed=3) is not None
    assert len(again) == 9
    assert len(list((gallery.folder / "pictures").glob("*/*.jpg"))) == 9


@pytest.mark.parametrize(("function", "left"), [("write_manifest", 6), ("sweep_files", 4)])
def test_a_killed_forget_is_finished_by_the_next_who_writes(tmp_path: Path, function: str, left: int) -> None:
    gallery = Gallery.create(tmp_path / "g", HASH, DIM)
    add(gallery, 6)
    before = files(gallery.folder)
    work = f"forget(Path({str(gallery.folder)!r}), CropFilter(places=(1, 4)))"
    killed = start(KILLED.format(module="forget", function=function, work=work))
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert len(Gallery.open(gallery.folder)) == left
    with writing(gallery.folder):
        pass
    assert len(list((gallery.folder / "pictures").glob("*/*.jpg"))) == left
    assert len(list((gallery.folder / "vectors").iterdir())) == 1
    assert (files(gallery.folder) == before) == (left == 6)


def test_an_add_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery.create(tmp_path / "g", HASH, DIM)
    add(gallery, 2)
    before = files(gallery.folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gallery_module, "write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        add(gallery, 3, first=50)
    monkeypatch.undo()
    assert files(gallery.folder) == before
    add(gallery, 3, first=50, seed=2)
    assert gallery.query(vectors(3, 2), 1)[0][:, 0].tolist() == [2, 3, 4]


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    with (
        locked(tmp_path, exclusive=True),
        pytest.raises(KDYoloError, match=r"has been writing to .* for 0.1 s"),
        locked(tmp_path, exclusive=False, wait_s=0.1),
    ):
        pass


def test_readers_share(tmp_path: Path) -> None:
    with locked(tmp_path, exclusive=True):
        pass
    with (
        locked(tmp_path, exclusive=False),
        locked(tmp_path, exclusive=False, wait_s=0.1),
        pytest.raises(KDYoloError, match=r"for 0\.1 s"),  # both hold it: a writer has to wait
        locked(tmp_path, exclusive=True, wait_s=0.1),
    ):
        pass
