"""Ultralytics' own ways to a checkpoint, under our rules: YOLO(path), the end of a run, models from a description."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics.nn.tasks as tasks
from torch import nn
from ultralytics import YOLO
from ultralytics.utils import torch_utils

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.safe_mode import enforce_safe_loading, trusted

pytestmark = pytest.mark.usefixtures("no_installs")


UPSTREAM = (tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load)  # read before any test has run


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Starts from upstream's own functions, and undoes what the functions under test do to the process."""
    before = (tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load)
    monkeypatch.setenv("ULTRALYTICS_SAFE_LOAD", "0")
    tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load = UPSTREAM
    yield
    tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load = before


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture
def hostile(tiny_model: nn.Module, marker: Path, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "weights" / "best.pt"
    path.parent.mkdir(parents=True)
    torch.save({"model": tiny_model, "train_args": {}, "x": Evil(f"touch {marker}")}, path)
    return path


def test_yolo_refuses_by_name(hostile: Path, marker: Path) -> None:
    enforce_safe_loading()
    with pytest.raises(InputError, match=r"names '(posix|nt)\.system'"):
        YOLO(hostile)
    with pytest.raises(InputError):
        tasks.load_checkpoint(hostile)
    assert not marker.exists()


def test_end_of_a_run_does_not_open_a_strangers_best(hostile: Path, marker: Path) -> None:
    enforce_safe_loading()
    torch_utils.strip_optimizer(hostile)  # skips what it cannot read, with a warning
    assert not marker.exists()


def test_without_us_both_would_run_it(hostile: Path, marker: Path) -> None:
    torch_utils.strip_optimizer(hostile)
    assert marker.exists(), "ultralytics has closed this hole: drop the replacement of torch_load"


def test_good_files_pass(tiny_model: nn.Module, tmp_path: Path) -> None:
    enforce_safe_loading()
    enforce_safe_loading()
    path = tmp_path / "best.pt"
    torch.save({"model": None, "ema": copy.deepcopy(tiny_model), "optimizer": {}, "train_args": {}, "epoch": 1}, path)
    assert torch_utils.strip_optimizer(path)["optimizer"] is None
    model = YOLO(path)
    assert model.task == "detect"
    assert model.ckpt_path == str(path)
    assert torch.equal(next(model.model.parameters()), next(tiny_model.parameters()).half().float())


def test_description_is_not_evaluated(tiny_model: nn.Module, marker: Path, tmp_path: Path) -> None:
    enforce_safe_loading()
    description = {**tiny_model.yaml, "activation": f"__import__('os').system('touch {marker}')"}
    with pytest.raises(TypeError, match="activation"):
        tasks.DetectionModel(description, verbose=False)
    model = copy.deepcopy(tiny_model)
    model.yaml = description
    torch.save({"model": model}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="activation"):
        YOLO(tmp_path / "x.pt")
    assert not marker.exists()


def test_child_processes_inherit_the_switch() -> None:
    enforce_safe_loading()
    assert os.environ["ULTRALYTICS_SAFE_LOAD"] == "1"
    assert tasks.SAFE_LOAD


@pytest.mark.parametrize("what", ["file", "folder"])
def test_trusted_files_load_and_others_do_not(hostile: Path, marker: Path, tmp_path: Path, what: str) -> None:
    enforce_safe_loading()
    other = tmp_path / "other.pt"
    other.write_bytes(hostile.read_bytes())
    with trusted(hostile if what == "file" else hostile.parents[1]):
        with pytest.raises(InputError):
            YOLO(other)
        assert not marker.exists()
        with trusted(tmp_path / "more.pt"):
            assert YOLO(hostile).task == "detect"
        assert marker.exists()
    with pytest.raises(InputError):
        YOLO(hostile)


def test_trusted_restores_what_was_there() -> None:
    before = (tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load, os.environ["ULTRALYTICS_SAFE_LOAD"])
    with trusted("x.pt"):
        assert tasks.SAFE_LOAD
    after = (tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load, os.environ["ULTRALYTICS_SAFE_LOAD"])
    assert after == before


def test_a_run_may_open_its_own_nan_and_nobody_else(tiny_model: nn.Module, tmp_path: Path) -> None:
    enforce_safe_loading()
    model = copy.deepcopy(tiny_model)
    next(model.parameters()).data.fill_(float("nan"))
    torch.save({"model": model}, tmp_path / "last.pt")
    assert tasks.torch_safe_load(tmp_path / "last.pt")[0]["model"] is not None
    with pytest.raises(InputError, match="holds NaN"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("key", ["ema", "model"])
def test_ultralytics_gets_no_network_that_was_tampered_with(tiny_model: nn.Module, tmp_path: Path, key: str) -> None:
    enforce_safe_loading()
    model = copy.deepcopy(tiny_model)
    vars(model)["fuse"] = tasks.DetectionModel
    torch.save({"model": tiny_model, key: model}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="stands before its method"):
        YOLO(tmp_path / "x.pt")
