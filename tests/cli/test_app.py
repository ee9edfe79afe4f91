"""``kd-yolo <command>``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_yolo.cli.app import COMMANDS, main


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
