"""Which networks count as pruned, and what the trainer makes of them before it trains."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.training.trainers import PoseRetrainTrainer, RetrainTrainer
from kd_yolo.yolo.files.pruned_file import is_pruned
from tests.training.networks import narrow, same_weights, widths

FAMILIES = [
    "yolov8n",
    "yolov10n",
    "yolo26n",
    "yolov8n-seg",
    "yolo26n-seg",
    "yolov8n-pose",
    "yolov8n-obb",
    "yolo11n-cls",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stock_network_is_not_pruned_and_a_narrow_one_is(build: Callable[..., Any], family: str) -> None:
    model = build(f"{family}.yaml", classes=3)
    assert not is_pruned(model)
    assert is_pruned(narrow(model))


def test_asking_draws_no_random_numbers(build: Callable[..., Any]) -> None:
    model = build()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    is_pruned(model)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_the_hidden_width_that_upstream_keeps_is_not_pruning(build: Callable[..., Any]) -> None:
    """80 classes give a class branch of 80 channels, and upstream keeps them when it trains such a network on 3."""
    wide = build(classes=80)
    tuned = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    assert tuned.model[-1].cv3[0][-1].in_channels == 64
    tuned.load(wide, verbose=False)
    assert tuned.model[-1].cv3[0][-1].in_channels == 80
    assert not is_pruned(tuned)


def test_a_network_that_is_narrow_in_its_class_branch_only(build: Callable[..., Any]) -> None:
    model = build()
    level = model.model[-1].cv3[1]
    level[0].conv.weight = nn.Parameter(level[0].conv.weight[:40].detach().clone())
    assert is_pruned(model)


@pytest.fixture
def trainer(pruned: str, tiny_data: Path, tmp_path: Path) -> Callable[..., Any]:
    """A trainer that has not started."""

    def make(kind: Any = RetrainTrainer, **overrides: Any) -> Any:
        defaults = dict(model=pruned, data=str(tiny_data), device="cpu", imgsz=64, project=str(tmp_path), exist_ok=True)
        return kind(overrides={**defaults, **overrides})

    return make


def test_a_pruned_network_is_copied_as_it_is(trainer: Callable[..., Any], build: Callable[..., Any]) -> None:
    given = build(pruned=True).eval().requires_grad_(False)
    given.args, given.task, given.pt_path, given.criterion = {"task": "detect"}, "detect", "old.pt", object()
    before = deepcopy(given.state_dict())
    model = trainer().get_model(cfg=given.yaml, weights=given)
    assert same_weights(model.state_dict(), before)
    assert type(model) is DetectionModel
    assert model.training
    assert vars(model).keys() == vars(build()).keys()
    assert all(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert same_weights(given.state_dict(), before)
    assert not given.training


def test_any_other_network_is_what_upstream_builds(trainer: Callable[..., Any], build: Callable[..., Any]) -> None:
    given = build(classes=5)
    models = []
    for kind in (RetrainTrainer, DetectionTrainer):
        ready = trainer(kind)
        torch.manual_seed(7)
        models.append((ready.get_model(cfg=given.yaml, weights=given), torch.get_rng_state()))
    (ours, our_state), (theirs, their_state) = models
    assert same_weights(ours.state_dict(), theirs.state_dict())
    assert torch.equal(our_state, their_state)


def test_networks_from_nothing(trainer: Callable[..., Any]) -> None:
    model = trainer(model="yolov8n.yaml").get_model(cfg="yolov8n.yaml", verbose=False)
    assert widths(model) == widths(DetectionModel("yolov8n.yaml", nc=2, verbose=False))


@pytest.mark.parametrize("pretrained", [False, "stock"])
def test_a_pruned_network_cannot_be_built_from_its_yaml(
    trainer: Callable[..., Any], build: Callable[..., Any], stock: str, pretrained: Any
) -> None:
    given = stock if pretrained == "stock" else pretrained
    weights = build() if given else None
    with pytest.raises(ConfigError, match=r"pretrained=.*cannot be built from its YAML"):
        trainer(pretrained=given).get_model(cfg="yolov8n.yaml", weights=weights)


def test_pruned_weights_for_another_network(
    trainer: Callable[..., Any], pruned: str, build: Callable[..., Any]
) -> None:
    ready = trainer(model="yolov8n.yaml", pretrained=pruned)
    with pytest.raises(ConfigError, match="name the pruned file as the model"):
        ready.get_model(cfg="yolov8n.yaml", weights=build(pruned=True))


def test_pretrained_false_is_upstreams_for_other_networks(trainer: Callable[..., Any], stock: str) -> None:
    model = trainer(model=stock, pretrained=False).get_model(cfg="yolov8n.yaml", weights=None, verbose=False)
    assert not is_pruned(model)


def test_a_fused_network(trainer: Callable[..., Any], build: Callable[..., Any]) -> None:
    fused = build(pruned=True).eval().fuse(verbose=False)
    with pytest.raises(InputError, match="fused"):
        trainer().get_model(cfg=fused.yaml, weights=fused)


def test_images_of_another_kind(trainer: Callable[..., Any], build: Callable[..., Any]) -> None:
    ready = trainer()
    ready.data["channels"] = 1
    with pytest.raises(ConfigError, match="images of 3 channels, the data has 1"):
        ready.get_model(weights=build(pruned=True))


def test_other_key_points(trainer: Callable[..., Any], build: Callable[..., Any]) -> None:
    ready = trainer()
    ready.data["kpt_shape"] = [2, 3]
    with pytest.raises(ConfigError, match=r"shape \[17, 3\], the data has \[2, 3\]"):
        PoseRetrainTrainer.get_model(ready, weights=build("yolov8n-pose.yaml", pruned=True))


def test_dropout_of_a_classifier(trainer: Callable[..., Any], build: Callable[..., Any]) -> None:
    ready = trainer(dropout=0.25)
    model = ready.get_model(weights=build("yolov8n-cls.yaml", pruned=True))
    assert model.model[-1].drop.p == 0.25


def test_names_follow_the_data(trainer: Callable[..., Any], pruned: str) -> None:
    model = trainer().get_model(weights=YOLO(pruned).model)
    assert model.names == {0: "c0", 1: "c1"}


def test_another_number_of_classes(trainer: Callable[..., Any], save: Callable[..., str], logged: list[str]) -> None:
    ready = trainer(model=save(classes=5, pruned=True))
    model = ready.get_model(weights=YOLO(save(classes=5, pruned=True)).model)
    assert model.model[-1].nc == 2
    assert sum("the data has 2 classes, the network 5" in line for line in logged) == 1
