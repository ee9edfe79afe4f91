"""Which anchors a response counts, and what box losses read, against the task's own decoding and assignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import dist2bbox, make_anchors

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import resolve_distill
from kd_yolo.distill.boxes import corners, expected_distances
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.outputs import Labels, Outputs, boxes_of, watch_assigner
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.losses.bkd import binary_distillation
from kd_yolo.yolo.heads import head_facts, raw_outputs

Build = Callable[..., Any]
IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def batch() -> dict[str, Any]:
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.6], [0.3, 0.4, 0.2, 0.2], [0.7, 0.5, 0.5, 0.5]])
    return {"img": IMAGE, "cls": torch.zeros(3, 1), "bboxes": boxes, "batch_idx": torch.tensor([0.0, 0.0, 1.0])}


def term_of(student: Any, teacher: Teacher, **term: Any) -> Any:
    config = resolve_distill("t.pt", [term])
    return next(iter(named_terms(build_terms(config, student, [teacher], seed=0)).values()))


@pytest.mark.parametrize("name", ["tiny16", "tiny16-Detect26"])
def test_boxes_are_those_of_the_head(build: Build, name: str) -> None:
    model = build(name).eval()
    with torch.no_grad():
        raw = raw_outputs(model(IMAGE))
    facts = head_facts(model)
    found = corners(expected_distances(raw["boxes"]), raw["feats"], facts.strides)
    anchors, strides = make_anchors(raw["feats"], model.model[-1].stride, 0.5)
    head = model.model[-1]
    expected = dist2bbox(head.dfl(raw["boxes"]), anchors.T[None], xywh=False, dim=1) * strides.T
    assert torch.allclose(found, expected, atol=1e-3)


def test_labels_are_pixels_of_the_input() -> None:
    first, second = boxes_of(batch(), 2)
    assert torch.allclose(first, torch.tensor([[28.8, 12.8, 67.2, 51.2], [19.2, 19.2, 38.4, 32.0]]))
    assert torch.allclose(second, torch.tensor([[43.2, 16.0, 91.2, 48.0]]))
    assert boxes_of({**batch(), "bboxes": torch.zeros(0, 4), "batch_idx": torch.zeros(0)}, 2)[1].shape == (0, 4)


@pytest.mark.parametrize("name", ["tiny16", "tiny16-Detect26"])
def test_assigned_is_the_foreground_of_the_task_loss(build: Build, name: str) -> None:
    student = build(name).train()
    student.args = get_cfg()
    teacher = Teacher(build(name, seed=1))
    term = term_of(student, teacher, loss="bkd", gate="assigned")
    preds = student(IMAGE)
    base = student.init_criterion()
    with watch_assigner(base) as seen:
        base(preds, batch())
    assert len(seen) == 1
    raw, said = raw_outputs(preds), teacher(IMAGE)
    assert seen[0].shape == raw["scores"][:, 0].shape
    assert 0 < int(seen[0].sum()) < seen[0].numel()
    value = term.compare(Outputs({}, raw), said, Labels([], (64, 96), seen[0]))
    loss_na = binary_distillation(raw["scores"], said.raw["scores"], tau=1.0, beta=1.0)
    assert float(value) == pytest.approx(float(loss_na[seen[0]].mean()), rel=1e-5)


def test_the_watch_ends_with_the_block(build: Build) -> None:
    student = build().train()
    student.args = get_cfg()
    base = student.init_criterion()
    with watch_assigner(base) as seen:
        pass
    base(student(IMAGE), batch())
    assert seen == []
    assert not base.assigner._forward_hooks


def test_a_gate_needs_a_response() -> None:
    with pytest.raises(ConfigError, match="--gate: only response losses have a gate, and there is none among cwd"):
        resolve_distill("t.pt", "cwd", gate="all")
    terms = resolve_distill("t.pt", "cwd+bkd", gate="assigned").terms
    assert [term.gate for term in terms] == [None, "assigned"]
    with pytest.raises(ConfigError, match="confidence"):
        resolve_distill("t.pt", "bkd", gate="sometimes")


@pytest.mark.parametrize(("own", "other"), [("Detect26", "Detect"), ("Detect", "Detect26"), ("Detect26", "Detect26")])
def test_box_distributions_need_bins_on_both_sides(build: Build, own: str, other: str) -> None:
    student, teacher = build(f"tiny16-{own}"), Teacher(build(f"tiny16-{other}", seed=1))
    with pytest.raises(ConfigError, match=r"the student has \d+ bins, the teacher \d+.*--loss box_iou"):
        term_of(student, teacher, loss="dfl_kl")
    term = term_of(student, teacher, loss="box_iou")
    raw = raw_outputs(student.train()(IMAGE))
    value = term.compare(Outputs({}, raw), teacher(IMAGE))
    value.backward()
    assert 0 < float(value) < 2
    assert student.model[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", ["box_iou", "obj_gated"])
def test_oriented_boxes_are_refused(build: Build, loss: str) -> None:
    student, teacher = build("tiny16-OBB"), Teacher(build("tiny16-OBB", seed=1))
    with pytest.raises(ConfigError, match=f"{loss} compares boxes without an angle"):
        term_of(student, teacher, loss=loss)
    assert term_of(student, teacher, loss="dfl_kl")


@pytest.mark.parametrize("loss", ["dfl_kl", "box_iou", "obj_gated", "bkd"])
def test_a_teacher_equal_to_the_student_costs_nothing(build: Build, loss: str) -> None:
    student, teacher = build().eval(), Teacher(build())
    term = term_of(student, teacher, loss=loss)
    with torch.no_grad():
        value = term.compare(Outputs({}, raw_outputs(student(IMAGE))), teacher(IMAGE))
    assert float(value) == pytest.approx(0, abs=1e-5)


FAMILIES = [
    ("yolov8n.yaml", "tiny16", "bkd+dfl_kl"),
    pytest.param("yolo26n.yaml", "yolo26s.yaml", "bkd+box_iou", marks=pytest.mark.slow),
    ("yolo26n.yaml", "tiny16", "bkd+box_iou"),
    pytest.param("yolo11n.yaml", "yolov8s.yaml", "obj_gated+dfl_kl+box_iou", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("own", "other", "loss"), FAMILIES)
def test_families_through_response_terms(
    train: Any, make_weights: Any, tmp_path: Any, own: str, other: str, loss: str
) -> None:
    gradients: list[float] = []

    def read(trainer: Any) -> None:
        gradient = next(trainer.model.model[0].parameters()).grad
        if gradient is not None:  # None right after a step
            gradients.append(float(gradient.abs().sum()))

    trainer = train(
        model=own, teacher=make_weights(other, seed=1), loss=loss, gate="assigned", epochs=1,
        nbs=64, on={"on_train_batch_end": read}, finish=False,
    )  # fmt: skip
    assert all(float(trainer.tloss[f"kd_{name}"]) > 0 for name in loss.split("+"))
    assert max(gradients) > 0
    assert type(trainer.ema.ema) is DetectionModel
