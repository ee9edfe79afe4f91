"""Counts agree with counts made another way, and counting changes nothing."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn.tasks import ClassificationModel, DetectionModel

from kd_yolo.base.errors import KDYoloError
from kd_yolo.yolo import measure
from kd_yolo.yolo.measure import deployed_copy, measure_size


@cache
def _built(yaml: str) -> Any:
    torch.manual_seed(0)
    return DetectionModel(yaml, nc=80, verbose=False)


def build(yaml: str) -> Any:
    return copy.deepcopy(_built(yaml))


def count_flops(model: nn.Module, imgsz: int) -> dict[str, int]:
    """FLOPs of convolutions and matrix products by module name, as torch counts them; ``Global`` is the sum."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad(), FlopCounterMode(display=False, depth=9) as counter:
        model(torch.zeros(1, 3, imgsz, imgsz))
    return {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}


@pytest.mark.parametrize("imgsz", [160, 320])
@pytest.mark.parametrize("yaml", ["yolov8n.yaml", "yolo11n.yaml", "yolo12n.yaml"])
def test_flops_equal_torchs_own_count(yaml: str, imgsz: int) -> None:
    model = build(yaml)
    size = measure_size(model, imgsz)
    convolutions = count_flops(model, imgsz)["Global"] / 1e9
    assert size.deployed_gflops == pytest.approx(convolutions, rel=1e-6)  # fusing leaves the convolutions as they are
    assert convolutions < size.gflops < 1.03 * convolutions  # and BatchNorm, which torch does not count


def test_parameters_and_layers() -> None:
    model = build("yolov8n.yaml")
    size = measure_size(model, 64)
    assert (size.layers, size.parameters) == (129, 3157200)  # what ultralytics prints
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert size.deployed_parameters == size.parameters - sum(norm.num_features for norm in norms)  # two become one bias


def test_deployed_form_has_the_one_to_one_branch_only() -> None:
    model = build("yolo26n.yaml")
    size, flops = measure_size(model, 320), count_flops(model, 320)
    dropped = [model.model[-1].cv2, model.model[-1].cv3]
    kept_norms = sum(m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    kept_norms -= sum(m.num_features for part in dropped for m in part.modules() if isinstance(m, nn.BatchNorm2d))
    branch = sum(p.numel() for part in dropped for p in part.parameters())
    assert size.parameters == sum(p.numel() for p in model.parameters())
    assert size.deployed_parameters == size.parameters - branch - kept_norms
    branches = ("model.23.cv2.", "model.23.cv3.")
    of_branch = [n for n in flops if any(n.partition(b)[2].isdigit() for b in branches)]  # cv2.0 .. cv3.2
    assert len(of_branch) == 6
    without = flops["Global"] - sum(flops[name] for name in of_branch)
    assert size.deployed_gflops == pytest.approx(without / 1e9, rel=1e-6)


@pytest.mark.parametrize("end2end", [True, False])
def test_the_branch_does_not_depend_on_how_the_head_was_left(end2end: bool) -> None:
    model = build("yolov10n.yaml")
    model.model[-1].end2end = end2end
    head = deployed_copy(model).model[-1]
    assert head.cv2 is None
    assert head.one2one_cv2 is not None


def test_the_model_is_not_touched() -> None:
    model = build("yolov10n.yaml").train()
    model(torch.zeros(2, 3, 64, 64))
    before, head = copy.deepcopy(model.state_dict()), model.model[-1]
    state = {name: (type(m), set(vars(m)), m.training, len(m._forward_hooks)) for name, m in model.named_modules()}
    facts = (head.end2end, head.shape, head.anchors.shape)
    measure_size(model, 96)
    measure.torch_runner(model, 96)()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert state == {n: (type(m), set(vars(m)), m.training, len(m._forward_hooks)) for n, m in model.named_modules()}
    assert facts == (head.end2end, head.shape, head.anchors.shape)
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if "dfl" not in name)


def test_fused_models_and_classifiers_are_counted_too() -> None:
    model = build("yolov8n.yaml")
    fused = measure_size(deployed_copy(model), 64)
    assert (fused.parameters, fused.gflops) == (fused.deployed_parameters, fused.deployed_gflops)
    assert fused.deployed_parameters == measure_size(model, 64).deployed_parameters
    classifier = ClassificationModel("yolov8n-cls.yaml", nc=3, verbose=False)
    convolutions = count_flops(classifier, 224)["Global"] / 1e9
    assert measure_size(classifier, 224).deployed_gflops == pytest.approx(convolutions, rel=2e-3)  # pooling is counted


def test_sizes_are_rounded_up_to_whole_strides(tiny_model: nn.Module) -> None:
    assert measure_size(tiny_model, 65) == measure_size(tiny_model, 96)
    assert measure_size(tiny_model, 96).gflops > measure_size(tiny_model, 64).gflops


def test_a_failing_forward_pass_is_said(tiny_model: nn.Module) -> None:
    broken: Any = copy.deepcopy(tiny_model)
    broken.model[3].conv = nn.Conv2d(7, 8, 3)
    with pytest.raises(KDYoloError, match=r"the forward pass fails: .*7"):
        measure_size(broken, 64)


def test_a_missing_counter_is_said(tiny_model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "get_flops", lambda *_: 0.0)
    with pytest.raises(KDYoloError, match="pip install -U ultralytics-thop"):
        measure_size(tiny_model, 64)
