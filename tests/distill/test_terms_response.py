"""Response terms: levels both heads have, the gate, and classes that must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.distill.terms import select_levels, split_levels
from kd_yolo.losses.bkd import binary_distillation

Build = Callable[..., Any]


def make(student: Any, teacher: Any, **term: Any) -> Any:
    config = DistillConfig.parse({"teacher": "t", "terms": [term]}, "here")
    return next(iter(named_terms(build_terms(config, student, [Teacher(teacher)], seed=0)).values()))


def raw(*sizes: int, classes: int = 2, seed: int = 0) -> dict[str, Any]:
    """Head outputs whose levels are squares of the given sides."""
    rng = torch.Generator().manual_seed(seed)
    anchors = sum(side * side for side in sizes)
    feats = [torch.zeros(2, 4, side, side) for side in sizes]
    return {
        "scores": torch.randn(2, classes, anchors, generator=rng),
        "boxes": torch.randn(2, 64, anchors, generator=rng),
        "feats": feats,
    }


def call(term: Any, own: dict[str, Any], other: dict[str, Any]) -> float:
    return float(term.compare(Outputs({}, own), Outputs({}, other)))


def test_levels_are_split_in_order() -> None:
    outputs = raw(4, 2, 1)
    parts = split_levels(outputs["scores"], outputs["feats"])
    assert [part.shape[-1] for part in parts] == [16, 4, 1]
    assert torch.equal(torch.cat(parts, -1), outputs["scores"])
    assert torch.equal(select_levels(outputs["scores"], outputs["feats"], [2, 0]), torch.cat([parts[2], parts[0]], -1))
    assert select_levels(outputs["scores"], outputs["feats"], [0, 1, 2]) is outputs["scores"]


def test_equal_logits_cost_nothing(build: Build) -> None:
    outputs = raw(8, 4, 2)
    for loss in ("bkd", "kl"):
        assert call(make(build(), build(), loss=loss), outputs, outputs) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gate", ["confidence", "all"])
def test_gate_weights_anchors_by_the_teachers_confidence(build: Build, gate: str) -> None:
    own, other = raw(8, 4, 2, seed=1), raw(8, 4, 2, seed=2)
    loss_na = binary_distillation(own["scores"], other["scores"], tau=1.0, beta=1.0)
    weight_na = other["scores"].sigmoid().amax(1) if gate == "confidence" else torch.ones_like(loss_na)
    expected = float((loss_na * weight_na).sum() / weight_na.sum())
    assert call(make(build(), build(), loss="bkd", gate=gate), own, other) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bigger", ["yolov8n-p2.yaml", "yolov8n-p6.yaml"])
def test_only_shared_levels_are_compared(build: Build, bigger: str) -> None:
    small, large = raw(8, 4, 2, seed=1), raw(16, 8, 4, 2, seed=2) if "p2" in bigger else raw(8, 4, 2, 1, seed=2)
    shared = slice(256, None) if "p2" in bigger else slice(None, 84)
    cut = {**{key: large[key][..., shared] for key in ("scores", "boxes")}, "feats": small["feats"]}
    expected = call(make(build(), build(), loss="bkd"), small, cut)
    assert call(make(build(), build(bigger), loss="bkd"), small, large) == pytest.approx(expected)
    expected = call(make(build(), build(), loss="bkd"), cut, small)
    assert call(make(build(bigger), build(), loss="bkd"), large, small) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["bkd", "kl", "obj_gated"])
def test_other_class_count(build: Build, loss: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(build(classes=2), build(classes=5), loss=loss)
    assert str(caught.value) == (
        f"teacher has 5 classes, data has 2: response losses ({loss}) need equal classes, or names that tell which are "
        "the same. Use a feature loss (--loss cwd), a box loss (--loss box_iou), or fine-tune the teacher on this data "
        "first."
    )
    assert make(build(classes=2), build(classes=5), loss="cwd").pairs


def test_softmax_over_one_class(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"kl over 1 class is identically 0.*--loss bkd"):
        make(build(classes=1), build(classes=1), loss="kl")
    assert make(build(classes=1), build(classes=1), loss="bkd")


def test_heads_without_a_shared_stride(build: Build) -> None:
    student, teacher = build(), build()
    teacher.model[-1].stride = torch.tensor([64.0, 128.0, 256.0])
    with pytest.raises(ConfigError, match=r"student strides \(8, 16, 32\) and teacher strides \(64, 128, 256\) share"):
        make(student, teacher, loss="bkd")


def named(build: Build, *names: str) -> Any:
    model = build(classes=len(names))
    model.names = dict(enumerate(names))
    return model


def test_classes_are_matched_by_name(build: Build) -> None:
    """Another order, other classes between, other counts: it is the loss of the shared ones."""
    student, teacher = named(build, "cat", "dog", "cow"), named(build, "bus", "Dog ", "cat", "car", "tree")
    own, other = raw(8, 4, 2, classes=3, seed=1), raw(8, 4, 2, classes=5, seed=2)
    term = make(student, teacher, loss="bkd", gate="all")
    assert list(term.notes) == [
        "matched by name: cat->2, dog->1 (2 of 3 are taught)",
        "not taught, the teacher does not know them: ['cow']",
        "not used, the data does not have them: ['bus', 'car', 'tree']",
    ]
    expected = binary_distillation(own["scores"][:, [0, 1]], other["scores"][:, [2, 1]], tau=1.0, beta=1.0).mean()
    assert call(term, own, other) == pytest.approx(float(expected), rel=1e-6)


def test_confidence_is_that_of_the_shared_classes(build: Build) -> None:
    student, teacher = named(build, "cat", "dog"), named(build, "bus", "cat", "dog")
    own, other = raw(8, 4, 2, classes=2, seed=1), raw(8, 4, 2, classes=3, seed=2)
    before = call(make(student, teacher, loss="bkd"), own, other)
    other["scores"][:, 0] += 50  # the teacher is sure of a bus, which is nobody's business
    assert call(make(student, teacher, loss="bkd"), own, other) == before


def test_no_common_class_is_refused(build: Build) -> None:
    student, teacher = named(build, "cat", "dog"), named(build, "katze", "hund")
    with pytest.raises(ConfigError, match=r"\['katze', 'hund'\], data has \['cat', 'dog'\]: none in common.*the same"):
        make(student, teacher, loss="bkd")
    assert not make(student, teacher, loss="cwd").notes
    assert not make(student, teacher, loss="box_iou").notes


def test_one_common_class_is_too_few_for_a_softmax(build: Build) -> None:
    student, teacher = named(build, "cat", "dog"), named(build, "cat", "bus")
    with pytest.raises(ConfigError, match="kl over 1 class is identically 0"):
        make(student, teacher, loss="kl")
    assert make(student, teacher, loss="bkd")


def test_models_without_names_are_matched_by_number(build: Build) -> None:
    own = named(build, "cat", "dog")
    (note,) = make(own, build(), loss="bkd").notes  # a model from YAML has numbers only
    assert note == "matched by number: the teacher has no class names"
    (note,) = make(own, named(build, "Cat", "DOG"), loss="bkd").notes
    assert note == "matched by name: cat->0, dog->1 (2 of 2 are taught)"
