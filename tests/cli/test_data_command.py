"""``kd-yolo data make reid``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.data import main
from kd_yolo.reid.data.sets import read_reid_set


def test_make_reid_prints_the_statistics_and_what_is_next(capsys: Any, tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    assert main(["make", "reid", "--preset", "smoke", "--out", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "(bounding_box_train 48, query 12, bounding_box_test" in printed
    assert all(word in printed for word in ("subset", "# ids", "# images", "# cameras", "gallery"))
    assert f"next: kd-yolo reid train data={folder}" in printed.replace("\n", "")
    assert main(["make", "reid", "--preset", "smoke", "--out", str(folder)]) == 0
    assert "already there" in capsys.readouterr().out
    found = read_reid_set(folder, max_rank=1)
    assert {sample.identity for sample in found.train} == set(range(1, 9))
    assert {sample.camera for sample in found.train} == {1, 2, 3}


def test_reid_lies_in_its_own_folder(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("kd_yolo.base.places.project_folder", lambda name: tmp_path / name)
    assert main(["make", "reid", "--preset", "smoke"]) == 0
    assert (tmp_path / "datasets" / "reid-smoke" / "bounding_box_train").is_dir()


def test_another_set_is_exit_2(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["make", "reid", "--preset", "smoke", "--out", str(tmp_path)]) == 2
    assert "not made by this generator" in capsys.readouterr().err


def test_usage_names_reid(capsys: Any) -> None:
    assert main([]) == 2
    assert "make street|diagram|reid" in capsys.readouterr().out
