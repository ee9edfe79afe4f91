"""CrossKD: the student's head features through the teacher's output layers."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import resolve_distill
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.taps import read_modules
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.yolo.heads import finish_branch, head_branches, raw_outputs

Build = Callable[..., Any]
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def term_of(student: Any, teacher: Teacher, **params: Any) -> Any:
    config = resolve_distill("t.pt", [{"loss": "crosskd", "params": params}])
    return next(iter(named_terms(build_terms(config, student, [teacher], seed=0)).values()))


def look(student: Any) -> Outputs:
    with read_modules(head_branches(student)) as branches:
        raw = raw_outputs(student(IMAGE))
    return Outputs({}, raw, branches)


@pytest.mark.parametrize("yaml", ["yolov8n", "yolo11n", "yolov10n", "yolov9t"])
def test_the_output_layer_of_a_branch_makes_its_output(build: Build, yaml: str) -> None:
    model = build(f"{yaml}.yaml").eval()
    with torch.no_grad():
        said = look(model)
        for name, key in (("cv2", "boxes"), ("cv3", "scores")):
            rest = [finish_branch(model, (name, i), said.branches[name, i]) for i in range(3)]
            assert torch.allclose(torch.cat(rest, 2), said.raw[key], atol=1e-5)


def test_a_teacher_equal_to_the_student_costs_nothing(build: Build) -> None:
    student, teacher = build().eval(), Teacher(build())
    term = term_of(student, teacher)
    with torch.no_grad():
        assert float(term.compare(look(student), teacher(IMAGE))) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("own", "other"), [("yolov8n", "yolov8s"), ("yolo11n", "yolov8s"), ("yolov8n", "yolo11s")])
def test_the_gradient_reaches_neck_and_head_but_not_its_output_layers(build: Build, own: str, other: str) -> None:
    student, teacher = build(f"{own}.yaml").train(), Teacher(build(f"{other}.yaml", seed=1))
    term = term_of(student, teacher)
    before = deepcopy(teacher.model.state_dict())
    term.compare(look(student), teacher(IMAGE)).backward()
    reached = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    head = student.model[-1].i
    assert {name.split(".")[4] for name in reached if name.startswith(f"model.{head}.")} == {"0", "1"}
    assert all(any(name.startswith(f"model.{layer}.") for name in reached) for layer in student.model[-1].f)
    assert any(name.startswith("model.0.") for name in reached)
    assert all(p.grad is None for p in teacher.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.model.state_dict().items())


def test_classes_are_the_teachers(build: Build) -> None:
    """The student's own classes do not enter: the teacher may know others."""
    student, teacher = build(classes=2).train(), Teacher(build("tiny32", classes=5))
    assert float(term_of(student, teacher).compare(look(student), teacher(IMAGE))) > 0


def test_a_teacher_without_bins(build: Build) -> None:
    student, teacher = build("tiny16-Detect26").train(), Teacher(build("tiny32-Detect26"))
    with pytest.raises(ConfigError, match="Use box_weight=0, and --loss crosskd\\+box_iou"):
        term_of(student, teacher)
    assert float(term_of(student, teacher, box_weight=0).compare(look(student), teacher(IMAGE))) > 0


def test_trains_and_leaves_a_plain_student(train: Any, tmp_path: Any) -> None:
    trainer = train(loss="crosskd", epochs=1, finish=False)
    assert float(trainer.tloss["kd_crosskd"]) > 0
    student = trainer.model
    assert not any(module._forward_hooks for module in student.modules())
    adapters = dict(trainer.criterion.terms["kd_crosskd"].adapters)
    assert {type(adapters[f"cv2_{i}"]).__name__ for i in range(3)} == {"Identity"}  # 64 channels on both sides
    assert {type(adapters[f"cv3_{i}"]).__name__ for i in range(3)} == {"Conv2d"}
