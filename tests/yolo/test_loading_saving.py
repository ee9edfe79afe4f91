"""Saving: whole or not at all, and what was there before survives."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from kd_yolo.base.errors import KDYoloError
from kd_yolo.yolo.files.loading import load_checkpoint_dict
from kd_yolo.yolo.files.saving import save_atomically


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """The operating system refuses to write more than this, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_saves_into_new_folders_and_loads(tmp_path: Path) -> None:
    path = save_atomically({"epoch": 3, "w": torch.ones(2)}, tmp_path / "a" / "last.pt")
    assert load_checkpoint_dict(path)["epoch"] == 3
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_mode_follows_the_umask_and_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.pt").symlink_to(tmp_path / "real.pt")
    save_atomically({"epoch": 1}, tmp_path / "link.pt")
    (tmp_path / "plain").touch()
    assert (tmp_path / "link.pt").is_symlink()
    assert (tmp_path / "real.pt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_reader_of_the_previous_file_sees_it_whole(tmp_path: Path) -> None:
    path = save_atomically({"epoch": 1}, tmp_path / "last.pt")
    before = path.read_bytes()
    with path.open("rb") as reader:
        save_atomically({"epoch": 2, "w": torch.ones(100)}, path)
        assert reader.read() == before
    assert load_checkpoint_dict(path)["epoch"] == 2


def test_full_disk_leaves_the_previous_file(tmp_path: Path) -> None:
    path = save_atomically({"epoch": 1}, tmp_path / "last.pt")
    with largest_file(20_000), pytest.raises(KDYoloError, match=r"last\.pt could not be written: File too large"):
        save_atomically({"epoch": 2, "w": torch.ones(100_000)}, path)
    assert load_checkpoint_dict(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_failed_sync_and_interruption_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, os.strerror(28))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(KDYoloError, match="No space left on device"):
        save_atomically({"epoch": 1}, tmp_path / "last.pt")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_atomically({"epoch": 1}, tmp_path / "last.pt")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KDYoloError, match=r"could not be written: (Not a directory|File exists)"):
        save_atomically({}, tmp_path / "file" / "last.pt")
