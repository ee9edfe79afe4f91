"""``python prune.py --factor 0.2`` as it stands: which network it takes, and that it says so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import InputError
from kd_yolo.cli import newest
from kd_yolo.cli.newest import find_model
from kd_yolo.cli.prune import main

Put = Callable[..., Path]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("kd_yolo.base.places.ROOT", tmp_path / "package")
    monkeypatch.setattr("kd_yolo.base.places.is_checkout", lambda: True)
    return tmp_path / "here"


@pytest.fixture
def put(make_weights: Any) -> Put:
    """Writes a network, or something else, with an age."""

    def write(path: str, age: int, content: bytes | None = None) -> Path:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            shutil.copyfile(make_weights("tiny8"), file)
        else:
            file.write_bytes(content)
        os.utime(file, (1e9 - age, 1e9 - age))
        return file

    return write


def test_the_newest_run_that_can_be_opened(put: Put) -> None:
    put("runs/detect/train/weights/best.pt", 30)
    put("runs/detect/train2/weights/best.pt", 20)
    put("runs/detect/train3/weights/best.pt", 10, b"half a file")
    put("runs/detect/train3/weights/last.pt", 5)
    put("weights/yolov8n.pt", 1)
    Path("runs/reid/net/weights").mkdir(parents=True)
    torch.save({"kind": "reid", "state": {}}, "runs/reid/net/weights/best.pt")
    Path("runs/gone/weights").mkdir(parents=True)
    Path("runs/gone/weights/best.pt").symlink_to("nowhere")
    os.mkfifo("runs/gone/weights/fifo")
    Path("runs/odd/weights/best.pt").mkdir(parents=True)
    found = "runs/detect/train2/weights/best.pt"
    assert find_model(train=False) == (found, f"no --model: {found}, the newest under runs/")


def test_a_fifo_is_not_waited_for(put: Put) -> None:
    Path("runs/a/weights").mkdir(parents=True)
    os.mkfifo("runs/a/weights/best.pt")
    put("runs/b/weights/best.pt", 99)
    assert find_model(train=False)[0] == "runs/b/weights/best.pt"


@pytest.mark.parametrize(
    ("files", "expected", "why"),
    [
        ({"weights/mine.pt": None}, "weights/mine.pt", "the only one in weights"),
        ({"weights/mine.pt": None, "weights/yolov8n.pt": None}, "weights/yolov8n.pt", "of those in weights"),
        ({"weights/a.pt": None, "weights/b.pt": None}, "weights/b.pt", "the newest in weights"),
        ({"weights/a.pt": None, "weights/b.pt": b"x"}, "weights/a.pt", "the newest in weights"),
        ({"weights/a.pt": b"x", "../package/weights/c.pt": None}, "{root}/package/weights/c.pt", "the only one in"),
        ({"runs/a/weights/best.pt": b"x", "weights/a.pt": None}, "weights/a.pt", "the only one in weights"),
    ],
)
def test_else_a_file_in_weights(put: Put, here: Path, files: dict[str, bytes | None], expected: str, why: str) -> None:
    for number, (path, content) in enumerate(files.items()):
        put(path, 50 - number, content)
    found, note = find_model(train=False)
    assert found == expected.format(root=here.parent)
    assert why in note


def test_else_the_demos_student(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="without --dry-run once"):
        find_model(train=False)
    best = Path("runs/distill/demo/weights/best.pt")
    monkeypatch.setattr(
        "kd_yolo.distill.demo_student.train_demo_student", lambda say, **_: SimpleNamespace(best=best.absolute())
    )
    assert find_model(train=True) == (str(best.absolute()), f"no --model: {best}, the demo's student")
    assert "trained first" in capsys.readouterr().out


def test_the_command_as_the_customer_types_it(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    put("runs/detect/train/weights/best.pt", 1)
    assert main(["--factor", "0.2", "imgsz=64"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "no --model: runs/detect/train/weights/best.pt, the newest under runs/"
    assert "factor 0.2: " in said
    assert "network: runs/prune/best/weights/pruned.pt" in said
    assert "next:    kd-yolo retrain --model runs/prune/best/weights/pruned.pt data=..." in said
    assert Path("runs/prune/best/weights/pruned.pt").is_file()


def test_wrong_flags_come_before_any_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "_newest", lambda _: pytest.fail("searched"))
    assert main(["--factor", "2"]) == 2
    assert main(["--save-dir", "weights"]) == 2
