"""Training arguments of a checkpoint: what ultralytics knows, with a plain value of its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.utils import DEFAULT_CFG_DICT, IterableSimpleNamespace

from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict
from kd_yolo.yolo.files.train_args import safe_train_args

DEEP: Any = []
for _ in range(50):
    DEEP = [DEEP]


def test_defaults_pass_unchanged() -> None:
    assert safe_train_args({"train_args": dict(DEFAULT_CFG_DICT)}) == DEFAULT_CFG_DICT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 3),
        ("imgsz", 64),
        ("imgsz", [64, 32]),
        ("lr0", 0.1),
        ("multi_scale", False),
        ("data", "x.yaml"),
        ("classes", [0, 1]),
        ("time", None),
        ("kd", {"config": {"terms": [{"loss": "cwd", "weight": 1.0}]}, "data_sha256": "0f"}),
    ],
)
def test_plain_values_stay(key: str, value: Any) -> None:
    assert safe_train_args({"train_args": {key: value}}) == {key: value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("save_dir_of_mine", "x"),
        ("__class__", "x"),
        (7, "x"),
        ("epochs", "3"),
        ("epochs", 3.5),
        ("epochs", 10**30),
        ("imgsz", "64"),
        ("imgsz", []),
        ("imgsz", float("nan")),
        ("lr0", float("inf")),
        ("lr0", "__import__('os')"),
        ("save", 1),
        ("task", 7),
        ("data", {"train": "x", "download": "y"}),
        ("data", ["x.yaml", "y.yaml"]),
        ("data", "x" * 100_000),
        ("project", nn.Conv2d(1, 1, 1)),
        ("pretrained", nn.SiLU),
        ("device", torch.ones(2)),
        ("classes", DEEP),
        ("optimizer", ["SGD"]),
        ("kd", "x"),
        ("kd", {"config": torch.ones(1)}),
        ("kd", {"config": DEEP}),
        ("kd", {("a",): 1}),
    ],
)
def test_everything_else_is_dropped(key: Any, value: Any) -> None:
    assert safe_train_args({"train_args": {key: value, "batch": 4}}) == {"batch": 4}


@pytest.mark.parametrize("given", [None, [], "data=x", 7, torch.ones(2), [("data", "x")], nn.SiLU])
def test_no_dict_is_no_arguments(given: Any) -> None:
    assert safe_train_args({"train_args": given}) == {} == safe_train_args({})


def test_namespaces_and_paths_of_old_releases_are_understood() -> None:
    given = IterableSimpleNamespace(imgsz=64, project=Path("runs/x"), unknown=1)
    assert safe_train_args({"train_args": given}) == {"imgsz": 64, "project": "runs/x"}


def test_the_loader_hands_out_cleaned_arguments_only(tiny_model: nn.Module, tmp_path: Path) -> None:
    arguments = {"imgsz": 64, "kd": {"config": {}}, "evil": "x", "save": nn.SiLU()}
    torch.save({"model": tiny_model, "train_args": arguments}, tmp_path / "x.pt")
    expected = {"imgsz": 64, "kd": {"config": {}}}
    assert load_checkpoint_dict(tmp_path / "x.pt")["train_args"] == expected
    model, checkpoint = load_checkpoint(tmp_path / "x.pt")
    assert checkpoint["train_args"] == expected
    assert model.args == {**DEFAULT_CFG_DICT, **expected}
