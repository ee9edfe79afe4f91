"""``kd-yolo <command>``."""

from __future__ import annotations

import email
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import EXTRAS
from kd_yolo.cli import doctor
from kd_yolo.cli.app import COMMANDS, main
from kd_yolo.cli.run import run_guarded


def test_lists_commands(capsys: Any) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


def test_unknown_command_offers_the_nearest(capsys: Any) -> None:
    assert main(["docter"]) == 2
    assert "Did you mean 'doctor'?" in capsys.readouterr().err


def test_doctor_runs_a_forward_pass(capsys: Any) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "gives boxes (1, 64, 84), finite" in printed
    assert "offline" in printed


def test_doctor_lists_every_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "Metadata-Version: 2.4\nProvides-Extra: reid\nProvides-Extra: dev\nProvides-Extra: none\n"
        "Requires-Dist: no-such-base\nRequires-Dist: no-such-b; python_version < '3'\n"
        "Requires-Dist: numpy; extra == 'reid'\n"
        "Requires-Dist: no-such-a>=1; extra == 'reid'\nRequires-Dist: no-such-a; extra == 'dev'\n"
    )
    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: email.message_from_string(text))
    assert doctor._extras() == {"reid": ["no-such-a"], "dev": ["no-such-a"], "none": []}
    monkeypatch.undo()

    def absent(_: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "metadata", absent)
    assert set(doctor._extras()) == set(EXTRAS)


def test_data_make_and_check(capsys: Any, tmp_path: Path) -> None:
    folder = tmp_path / "street"
    assert main(["data", "make", "street", "--preset", "smoke", "--out", str(folder)]) == 0
    assert main(["data", "make", "street", "--preset", "smoke", "--out", str(folder)]) == 0
    assert "already there" in capsys.readouterr().out
    assert main(["data", "check", str(folder / "data.yaml")]) == 0
    assert "12 images" in capsys.readouterr().out


def test_data_check_of_nothing_is_exit_3(capsys: Any, tmp_path: Path) -> None:
    assert main(["data", "check", str(tmp_path / "none.yaml")]) == 3
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["street", "diagram", "reid", "clip"])
@pytest.mark.parametrize("seed", ["-1", str(1 << 32), "9" * 5000])
def test_a_seed_that_is_none_draws_nothing(what: str, seed: str, capsys: Any, tmp_path: Path) -> None:
    try:
        code = main(["data", "make", what, "--preset", "smoke", f"--seed={seed}", "--out", str(tmp_path / "set")])
    except SystemExit as stop:  # not a number that Python reads
        code = int(stop.code or 0)
    assert code == 2
    assert len(capsys.readouterr().err) < 2000
    assert not (tmp_path / "set").exists()


def test_what_nobody_foresaw_is_one_line_and_a_file(capsys: Any) -> None:
    def command() -> None:
        raise RuntimeError("first line\nsecond line")

    assert run_guarded(command, detector=False) == 1
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert error.startswith("error: RuntimeError: first line. This was not foreseen.")
    traceback = Path(error.rpartition(" is in ")[2].partition(":")[0])
    assert "second line" in traceback.read_text()
    traceback.unlink()


def test_a_file_name_that_is_no_text_is_printed(capsys: Any) -> None:
    def command() -> None:
        sys.stdout.write(os.fsdecode(b"caf\xe9"))
        raise InputError(os.fsdecode(b"caf\xe9"))

    assert run_guarded(command, detector=False) == 3
    assert "caf" in capsys.readouterr().err


COMMAND = """
from kd_yolo.base.errors import InputError
from kd_yolo.cli.run import run_guarded

def main(argv, prog):
    return run_guarded(lambda: work(argv, prog), detector=False)

def work(argv, prog):
    if argv == ["fail"]:
        raise InputError("nothing to count")
    print(prog, *argv)
"""


def test_a_command_of_an_installed_package(install_package: Any, capsys: Any) -> None:
    entries = {"count": "counting:main", "broken": "counting.missing:main", "doctor": "counting:main"}
    install_package("counting", {"counting.py": COMMAND}, {"kd_yolo.commands": entries})
    assert main(["--help"]) == 0
    assert "counting" not in sys.modules
    printed = capsys.readouterr().out
    assert "  count     from the package counting\n" in printed
    assert COMMANDS["doctor"][1] in printed  # no package takes the name of ours
    assert main(["count", "one", "two=2"]) == 0
    assert capsys.readouterr().out == "kd-yolo count one two=2\n"
    assert main(["count", "fail"]) == 3
    assert "error: nothing to count" in capsys.readouterr().err
    assert main(["broken"]) == 2
    assert "'broken' of the package counting" in capsys.readouterr().err
    assert main(["cuont"]) == 2
    assert "Did you mean 'count'?" in capsys.readouterr().err
