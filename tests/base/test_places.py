"""Folders of the project: here first, then the checkout, never beside a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_yolo.base import places

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What holds the package, elsewhere than the working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(places, "ROOT", tmp_path / "root")
    (tmp_path / "root" / "weights").mkdir(parents=True)
    (tmp_path / "root" / "weights" / "a.pt").touch()
    return tmp_path / "root"


def test_this_is_a_checkout() -> None:
    assert places.is_checkout()
    assert places.shipped_folder("cfg") == ROOT / "cfg"


def test_beside_a_wheel_nothing_is_looked_for(root: Path) -> None:
    (root / "pyproject.toml").touch()  # some wheels leave theirs among the installed packages
    assert not places.is_checkout()
    assert places.project_folder("weights") == Path.cwd() / "weights"
    assert places.find_weights("a.pt") == "a.pt"


def test_in_a_checkout_here_comes_first(root: Path) -> None:
    (root / "pyproject.toml").touch()
    (root / "cfg").mkdir()
    assert places.project_folder("weights") == root / "weights"
    assert places.find_weights("a.pt") == str(root / "weights" / "a.pt")
    Path("weights").mkdir()
    Path("weights/a.pt").touch()
    assert places.project_folder("weights") == Path.cwd() / "weights"
    assert places.find_weights("a.pt") == "weights/a.pt"
