"""Files and folders that are written beside and renamed; that nothing else in the package writes otherwise."""

from __future__ import annotations

import ast
import errno
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kd_yolo.base import files
from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.files import unfinished, write_bytes, write_image, write_json, write_text
from kd_yolo.base.folders import folder_beside
from kd_yolo.base.images import read_image
from kd_yolo.base.leftovers import remove_leftovers

PACKAGE = Path(files.__file__).parents[1]
# Who renames a file or a folder beside base/files.py, and why it cannot leave that to it.
RENAMES = {
    "base/folders.py": "the one writer of folders",
    "training/checkpoint.py": "ultralytics writes last.pt and best.pt by its own names: into a folder of an epoch",
}
# Who writes a file in place, and why nobody can see half of it.
IN_PLACE = {
    "builtin/clip_set.py": "fills a folder_beside",
    "builtin/crops_set.py": "fills a folder_beside",
    "builtin/diagram_set.py": "fills a folder_beside",
    "builtin/shapes_set.py": "fills a folder_beside",
    "builtin/street_set.py": "fills a folder_beside",
    "data/folder.py": "fills a folder_beside",
    "search/tracks/files.py": "fills a folder_beside",
    "data/sample.py": "a folder for one call, that is thrown away",
    "search/page/app.py": "a folder for one server, that is thrown away",
    "search/crops/ray/worker.py": "one more byte at the end of a counter",
    "cli/run.py": "a new file for a traceback",
}
SYSTEM = {"os.replace", "os.rename", "os.renames", "os.fsync", "shutil.move"}
WRITERS = {"cv2.imwrite", "np.save", "onnx.save"}


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def renames(call: ast.Call) -> bool:
    """``str.replace`` takes two arguments, ``dataclasses.replace`` keywords: one alone is a path's."""
    last = name_of(call).rpartition(".")
    is_path = bool(last[0]) and last[2] in {"rename", "replace"} and len(call.args) == 1 and not call.keywords
    return name_of(call) in SYSTEM or is_path


def writes(call: ast.Call) -> bool:
    """Whether it writes a file that is not called ``part``, as what :func:`written_beside` gives is."""
    if any(isinstance(node, ast.Name) and node.id == "part" for node in ast.walk(call)):
        return False
    name, words = name_of(call), [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    opened = name.rpartition(".")[2] in {"open", "NamedTemporaryFile"} and any(
        isinstance(word, str) and word[:1] in ("w", "a", "x") and len(word) <= 3 for word in words
    )
    return opened or name in WRITERS or name.endswith((".write_text", ".write_bytes"))


@cache
def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]


def found(what: object) -> dict[str, list[int]]:
    lines = {
        path.relative_to(PACKAGE).as_posix(): [call.lineno for call in calls(path) if what(call)]  # type: ignore[operator]
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    return {file: numbers for file, numbers in lines.items() if numbers and file != "base/files.py"}


def test_one_module_renames_files() -> None:
    assert found(renames).keys() == RENAMES.keys()


def test_one_module_writes_files() -> None:
    assert found(writes).keys() == IN_PLACE.keys()


@pytest.mark.parametrize(
    ("line", "is_rename", "is_write"),
    [
        ("part.replace(target)", True, False),
        ("os.fsync(handle)", True, False),
        ("shutil.move(a, b)", True, False),
        ("text.replace('a', 'b')", False, False),
        ("dataclasses.replace(row, a=1)", False, False),
        ("path.write_text(text)", False, True),
        ("path.open('wb')", False, True),
        ("open(path, 'a')", False, True),
        ("cv2.imwrite(str(path), image)", False, True),
        ("write_text(path, text)", False, False),
        ("part.write_text(text)", False, False),
        ("path.open('rb')", False, False),
    ],
)
def test_a_second_writer_is_seen(line: str, is_rename: bool, is_write: bool) -> None:
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert (renames(call), writes(call)) == (is_rename, is_write)


def test_a_full_disk_leaves_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_text(tmp_path / "new" / "a.txt", "old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(KDYoloError, match=r"a\.txt could not be written: No space left.*unharmed"):
        write_bytes(file, b"new")
    assert [path.name for path in file.parent.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_json_ends_its_line(tmp_path: Path) -> None:
    text = write_json(tmp_path / "a.json", {"a": [1, "ä"]}).read_text("utf-8")
    assert json.loads(text) == {"a": [1, "ä"]}
    assert text.endswith("}\n")


def test_an_image_is_read_as_it_was_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(read_image(write_image(tmp_path / "a.PNG", image[:, ::-1])), image[:, ::-1])
    assert capfd.readouterr().err == ""  # OpenCV 5 warns of a JPEG's quality
    small, large = (write_image(tmp_path / f"{q}.jpg", image, jpeg_quality=q).stat().st_size for q in (20, 95))
    assert small < large


def test_a_folder_is_complete_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "new" / "set"
    with pytest.raises(FileNotFoundError), folder_beside(target) as partial:
        (partial / "missing" / "a").touch()
    assert list(target.parent.iterdir()) == []
    for name in ("a", "b"):
        with folder_beside(target) as partial:
            assert partial.parent == target.parent
            (partial / name).touch()
    assert [path.name for path in target.parent.iterdir()] == ["set"]
    assert [path.name for path in target.iterdir()] == ["b"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["part", "part.pt", "partial-x1", "old-x1"])
def test_what_is_unfinished_is_removed_under_the_lock(tmp_path: Path, kind: str) -> None:
    mine, strange, other = unfinished(tmp_path / "a.csv", kind), tmp_path / f".a.csv.{kind}", tmp_path / "b.csv"
    for file in (mine, strange, other):
        file.touch()
    assert remove_leftovers(tmp_path) == []  # this process still writes it
    assert sorted(remove_leftovers(tmp_path, is_locked=True)) == sorted([mine, strange])
    assert list(tmp_path.iterdir()) == [other]
