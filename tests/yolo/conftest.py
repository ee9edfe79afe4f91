"""Shared by the tests of the loader: a tiny model, the official weights where present, files that would run code."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics.nn.tasks as tasks
from torch import nn
from ultralytics.utils import checks


@pytest.fixture(scope="session")
def shared_weights(shared: Path) -> Path:
    """The folder of official weights, which only development machines have."""
    return shared / "weights"


@pytest.fixture(scope="session")
def tiny_model(tiny_yaml: Callable[..., str]) -> nn.Module:
    """A detector of seven layers; tests must not change it."""
    torch.manual_seed(0)
    model: nn.Module = tasks.DetectionModel(tiny_yaml(8, 3), nc=3, verbose=False).eval()
    return model


@pytest.fixture
def no_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test when anything asks for an install or starts a process from Python."""

    def fail(*args: Any, **_: Any) -> None:
        pytest.fail(f"an install or a process was asked for: {args}")

    monkeypatch.setattr(checks, "check_requirements", fail)
    monkeypatch.setattr(tasks, "check_requirements", fail)
    monkeypatch.setattr(subprocess, "Popen", fail)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that appears when the code in a hostile checkpoint runs."""
    return tmp_path / "the_code_has_run"


@pytest.fixture
def write_archive(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a torch zip archive around a handmade pickle."""

    def write(pickled: bytes, name: str = "x.pt") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", b"3\n")
        return path

    return write
