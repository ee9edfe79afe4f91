"""One process a folder; what killed ones leave does not block and is removed, what living ones write is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.lock import LOCK, holding, is_alive, is_held


def in_a_fork(work: Callable[[int], None]) -> tuple[int, int]:
    """Starts ``work(done)``; returns when it has written a byte to ``done``: its number, and what to read from."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            work(write)
        finally:
            os._exit(0)
    os.close(write)
    os.read(read, 1)
    return child, read


def hold(folder: Path) -> tuple[int, int]:
    def work(done: int) -> None:
        with holding(folder):
            os.write(done, b"x")
            signal.pause()

    return in_a_fork(work)


def end(child: int, pipe: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(pipe)


def test_a_second_process_is_told_who_is_there(tmp_path: Path) -> None:
    child, pipe = hold(tmp_path / "run")
    try:
        assert is_held(tmp_path / "run")
        with pytest.raises(ConfigError, match=f"process {child} is working on the chain in {tmp_path}/run"):  # noqa: SIM117
            with holding(tmp_path / "run", "chain"):
                pass
    finally:
        end(child, pipe)
    assert (tmp_path / "run" / LOCK).is_file()  # it was killed: the file stays, the lock does not
    assert not is_held(tmp_path / "run")
    with holding(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text() == f"{os.getpid()}\n"
    assert list((tmp_path / "run").iterdir()) == []


def test_the_lock_of_a_killed_process_is_waited_for_while_its_workers_live(tmp_path: Path) -> None:
    """A fork of it has the lock too, until it notices that its parent is gone."""

    def work(done: int) -> None:
        with holding(tmp_path):
            if os.fork() == 0:
                os.close(done)
                signal.setitimer(signal.ITIMER_REAL, 1.0)
                signal.pause()  # ended by the alarm
            os.write(done, b"x")
            signal.pause()

    child, pipe = in_a_fork(work)
    end(child, pipe)
    assert is_held(tmp_path)
    with holding(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "x", "-1", "99999999999", "0"])
def test_an_old_lock_file_with_anything_in_it(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with holding(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_a_lock_file_is_no_way_to_other_files(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(victim)
    with pytest.raises(OSError, match=r"\.lock"), holding(tmp_path / "run"):
        pass
    assert victim.read_text() == "precious"


def dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_leftovers_of_the_dead_alone_are_removed(tmp_path: Path) -> None:
    dead, own, living = dead_process(), os.getpid(), os.getppid()
    gone = [f".a.csv.{dead}.part", f".last.{dead}.part.pt", f".set.{dead}.partial-x1_z", f".set.{dead}.old-x1_z"]
    kept = [
        f".a.csv.{own}.part", f".a.csv.{living}.part", "a.part", f"a.csv.{dead}.part", ".a.csv.part", f".a.{dead}.csv",
        f".a.{dead}x.part", "results.csv", ".lock",
    ]  # fmt: skip
    for name in (*gone, *kept):
        if "partial-" in name or "old-" in name:
            (tmp_path / name / "inner").mkdir(parents=True)
        else:
            (tmp_path / name).touch()
    removed = remove_leftovers(tmp_path, tmp_path / "missing")
    assert sorted(path.name for path in removed) == sorted(gone)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_leftovers_of_one_name(tmp_path: Path) -> None:
    dead = dead_process()
    for name in ("one", "other"):
        (tmp_path / f".{name}.{dead}.part").touch()
    remove_leftovers(tmp_path, of="one")
    assert [path.name for path in tmp_path.iterdir()] == [f".other.{dead}.part"]


def test_who_is_alive() -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)
    assert not is_alive(dead_process())
    assert not is_alive(0)
    assert not is_alive(10**30)
