"""The teacher: frozen, in eval, fused to the same numbers, stopped early, and in no copy of anything."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.yolo.heads import raw_outputs

Build = Callable[..., Any]
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def expected(model: Any, layers: list[int]) -> tuple[dict[int, torch.Tensor], dict[str, Any]]:
    """Features and head outputs of an unfused copy in eval mode."""
    seen: dict[int, torch.Tensor] = {}
    model = deepcopy(model).eval()
    for i in layers:
        model.model[i].register_forward_hook(lambda _m, _a, out, i=i: seen.__setitem__(i, out))
    with torch.no_grad():
        return seen, raw_outputs(model(IMAGE))


@pytest.mark.parametrize("yaml", ["yolov8n", "yolov5n", "yolov9t", "yolov10n", "yolo26n", "yolo11n-seg"])
def test_fused_teacher_says_what_the_model_said(build: Build, yaml: str) -> None:
    model = build(f"{yaml}.yaml")
    layers = list(model.model[-1].f)
    features, raw = expected(model, layers)
    said = Teacher(model).watch(layers, needs_head=True)(IMAGE)
    assert all(torch.allclose(said.features[i], features[i], atol=1e-4) for i in layers)
    assert said.raw is not None
    assert torch.allclose(said.raw["scores"], raw["scores"], atol=1e-3)


@pytest.mark.parametrize("end2end", [False, True])
def test_end_to_end_teachers_answer_with_their_one_to_many_branch(build: Build, end2end: bool) -> None:
    """Also where upstream's fuse would drop that branch, because the checkpoint says that the other one is used."""
    model = build("yolov10n.yaml").eval()
    model.model[-1].end2end = end2end
    model.model[-1].cv3[0][-1].bias.data += 5  # the branches now differ
    with torch.no_grad():
        both = model(IMAGE)[1]
    raw = Teacher(model).watch([16], needs_head=True)(IMAGE).raw
    assert raw is not None
    assert torch.allclose(raw["scores"], both["one2many"]["scores"], atol=1e-3)
    assert not torch.allclose(raw["scores"], both["one2one"]["scores"], atol=1.0)


def test_is_frozen_and_in_eval_whatever_it_was(build: Build) -> None:
    model = build("yolov8n.yaml").train().requires_grad_(True)
    teacher = Teacher(model).watch([15], needs_head=True)
    assert not any(module.training for module in teacher.model.modules())
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in teacher.model.modules())
    before = {k: v.clone() for k, v in teacher.model.state_dict().items()}
    said = teacher(IMAGE.clone().requires_grad_())
    assert not said.features[15].requires_grad
    assert said.raw is not None
    assert not said.raw["scores"].requires_grad
    assert all(torch.equal(before[k], v) for k, v in teacher.model.state_dict().items())


def test_stops_after_the_last_tapped_layer(build: Build) -> None:
    model = build("yolov8n.yaml")
    ran: list[int] = []
    for i, block in enumerate(model.model):
        block.register_forward_hook(lambda _m, _a, _o, i=i: ran.append(i))
    said = Teacher(model).watch([15, 12, 15], needs_head=False)(IMAGE)
    assert max(ran) == 15
    assert set(said.features) == {12, 15}
    assert said.raw is None


def test_without_taps_it_runs_for_its_head_alone(build: Build) -> None:
    said = Teacher(build("yolov8n.yaml")).watch([], needs_head=True)(IMAGE)
    assert said.features == {}
    assert said.raw is not None
    assert said.raw["scores"].shape == (2, 2, 84)


def test_leaves_no_hooks(build: Build) -> None:
    teacher = Teacher(build("yolov8n.yaml")).watch([15, 21], needs_head=True)
    for _ in range(2):
        teacher(IMAGE)
    with pytest.raises(RuntimeError):
        teacher(torch.zeros(1, 5, 64, 64))
    assert not any(module._forward_hooks for module in teacher.model.modules())


def test_is_in_no_copy_and_no_pickle(build: Build) -> None:
    teacher = Teacher(build("yolov8n.yaml")).watch([15], needs_head=False)
    assert deepcopy(teacher) is None
    assert pickle.loads(pickle.dumps(teacher)) is None
