"""A run's name is reserved by making its folder: nobody shares one, nobody loses one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.places import new_folder, remove_if_empty, reserved


def test_names_are_counted_up(tmp_path: Path) -> None:
    names = [new_folder(tmp_path / "runs" / "a.b").name for _ in range(3)]
    assert names == ["a.b", "a.b-2", "a.b-3"]
    (tmp_path / "file").touch()
    assert new_folder(tmp_path / "file").name == "file-2"


def test_processes_that_ask_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    read, go = os.pipe()
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(read, 1)  # all start when the parent closes its end
            try:
                for _ in range(5):
                    folder = new_folder(tmp_path / "runs" / "a")
                    (folder / str(number)).touch()
            finally:
                os._exit(0)
        children.append(child)
    os.close(go)
    for child in children:
        os.waitpid(child, 0)
    os.close(read)
    folders = sorted((tmp_path / "runs").iterdir())
    assert len(folders) == 40
    assert all(len(list(folder.iterdir())) == 1 for folder in folders)


def test_work_that_fails_before_it_wrote_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), reserved(tmp_path / "runs" / "prune" / "a"):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []

    def late() -> None:
        with reserved(tmp_path / "runs" / "prune" / "a") as folder:
            (folder / "result").touch()
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        late()
    assert (tmp_path / "runs" / "prune" / "a" / "result").is_file()


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "full" / "inner").mkdir(parents=True)
    remove_if_empty(tmp_path / "full", tmp_path / "missing", tmp_path / "full" / "inner")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_folder_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        new_folder(tmp_path / name)


def test_a_file_where_the_folders_of_runs_should_be(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(InputError, match="a file is where a folder should be"):
        new_folder(tmp_path / "runs" / "prune" / "a")
