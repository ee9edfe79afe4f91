"""The checkpoint of a pruned network: ultralytics' own form, opened by plain ultralytics."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import KDYoloError
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned


@pytest.fixture
def loaded(make_weights: Callable[..., str]) -> tuple[Any, dict[str, Any]]:
    return load_checkpoint(make_weights("tiny16"))


def cut(model: Any) -> Any:
    less = deepcopy(model)
    with ChannelGraph(less, torch.zeros(1, 3, 64, 64)) as graph:
        graph.cut({group.name: range(group.width // 2) for group in graph.groups})
    return less


@pytest.fixture
def saved(loaded: Any, tmp_path: Path) -> Path:
    model, checkpoint = loaded
    model.names = {0: "left", 1: "right"}
    checkpoint["train_args"] = {"imgsz": 96, "data": "mine.yaml", "kd": {"ours": 1}}
    return save_pruned(tmp_path / "w" / "pruned.pt", cut(model), checkpoint, {"factor": 0.5})


def test_it_is_what_a_finished_run_leaves(saved: Path) -> None:
    model, checkpoint = load_checkpoint(saved)
    raw = torch.load(saved, weights_only=False)
    assert raw["epoch"] == -1
    assert raw["ema"] is None is raw["optimizer"]
    assert raw["model"].model[0].conv.weight.dtype == torch.float16
    assert not any(parameter.requires_grad for parameter in raw["model"].parameters())
    assert not hasattr(raw["model"], "pt_path")
    assert not hasattr(raw["model"], "criterion")
    assert raw["train_args"]["imgsz"] == 96
    assert raw["train_args"]["data"] == "mine.yaml"
    assert "kd" not in raw["train_args"]
    assert raw["kd_yolo"] == {"prune": {"factor": 0.5}}
    assert {"date", "version", "license"} <= set(raw)
    assert list(saved.parent.iterdir()) == [saved]
    assert checkpoint["train_args"]["imgsz"] == 96
    assert model.names == {0: "left", 1: "right"}


def test_plain_ultralytics_opens_it_without_this_package(saved: Path) -> None:
    code = (
        "import sys; sys.modules['kd_yolo'] = None\n"
        "from ultralytics import YOLO\n"
        f"model = YOLO({str(saved)!r})\n"
        "assert model.task == 'detect' and model.names == {0: 'left', 1: 'right'}\n"
        "assert {type(m).__module__.split('.')[0] for m in model.model.modules()} == {'torch', 'ultralytics'}\n"
        "assert model.model.model[0].conv.out_channels == 8, model.model.model[0]\n"
        "assert float(model.model.stride.max()) == 32 and model.model.yaml['nc'] == 2\n"
        "model.predict(source=__import__('numpy').zeros((64, 64, 3), 'uint8'), imgsz=64, verbose=False)\n"
    )
    env = {**os.environ, "ULTRALYTICS_SAFE_LOAD": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=saved.parent, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_network_itself_is_not_touched(loaded: Any, tmp_path: Path) -> None:
    model, checkpoint = loaded
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save_pruned(tmp_path / "a.pt", model, checkpoint, {})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert hasattr(model, "pt_path")


def test_values_that_half_precision_cannot_hold_keep_the_file_in_float(loaded: Any, tmp_path: Path) -> None:
    model, checkpoint = loaded
    model.model[0].bn.running_var[0] = 1e6
    path = save_pruned(tmp_path / "a.pt", model, checkpoint, {})
    raw = torch.load(path, weights_only=False)["model"]
    assert raw.model[0].bn.running_var.dtype == torch.float32
    assert float(raw.model[0].bn.running_var[0]) == 1e6


def test_an_unwritable_place_is_an_error(loaded: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(KDYoloError, match="could not be written"):
        save_pruned(tmp_path / "file" / "a.pt", *loaded, {})
