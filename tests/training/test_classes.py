"""Another number of classes: the layers that predict classes are those of a new network, all others stay."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from kd_yolo.yolo.classes import class_layers, num_classes, set_classes

TASKS = {
    "yolov8n.yaml": 3,  # one class layer a level
    "yolov10n.yaml": 6,  # two branches
    "yolo26n.yaml": 6,
    "yolo26n-seg.yaml": 7,  # and one that segments semantically
    "yolov8n-pose.yaml": 3,
    "yolov8n-obb.yaml": 3,
    "yolov8n-cls.yaml": 1,
}


@pytest.mark.parametrize(("yaml", "count"), TASKS.items())
def test_only_the_class_layers_change(build: Callable[..., Any], yaml: str, count: int) -> None:
    model, fresh = build(yaml, classes=5, pruned=True), build(yaml, classes=3, pruned=True, seed=1)
    before = deepcopy(model.state_dict())
    assert (len(class_layers(model)), num_classes(model)) == (count, 5)
    set_classes(model, 3)
    changed = class_layers(model)
    for key, value in model.state_dict().items():
        if key.rpartition(".")[0] in changed:
            assert value.shape[0] == 3, key
        else:
            assert torch.equal(value, before[key]), key
    for name, layer in class_layers(fresh).items():
        if ".cv3." in name or ".one2one_cv3." in name:
            assert torch.allclose(changed[name].bias, layer.bias), name
    assert num_classes(model) == model.nc == model.model[-1].nc == model.yaml["nc"] == 3
    assert model.names == {0: "0", 1: "1", 2: "2"}


@pytest.mark.parametrize("yaml", ["yolov8n.yaml", "yolo26n-seg.yaml", "yolov8n-cls.yaml"])
def test_the_network_runs(build: Callable[..., Any], yaml: str) -> None:
    model = build(yaml, classes=5, pruned=True)
    set_classes(model, 3)
    out = model.train()(torch.rand(2, 3, 64, 64))
    out = out if isinstance(out, torch.Tensor) else out.get("one2many", out)["scores"]
    assert out.shape[1] == 3
    assert getattr(model.model[-1], "no", 67) == {"yolo26n-seg.yaml": 7}.get(yaml, 67)  # classes + 4 reg_max


@pytest.mark.slow
def test_rt_detr(build: Callable[..., Any]) -> None:
    from ultralytics.nn.tasks import RTDETRDetectionModel

    model = RTDETRDetectionModel("rtdetr-l.yaml", nc=5, verbose=False)
    fresh = RTDETRDetectionModel("rtdetr-l.yaml", nc=3, verbose=False)
    set_classes(model, 3)
    shapes = {name: value.shape for name, value in fresh.state_dict().items()}
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes
    assert torch.allclose(model.model[-1].enc_score_head.bias, fresh.model[-1].enc_score_head.bias)
