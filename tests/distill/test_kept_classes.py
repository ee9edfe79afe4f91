"""Classes that ``classes=`` filters out are not taught: no gradient, no gate, one line; ``single_cls=`` likewise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.kept import KeptClasses
from kd_yolo.distill.outputs import Labels, Outputs
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.losses import losses

Build = Callable[..., Any]
NAMES = ["red", "green", "blue"]
RESPONSE = [name for name in losses.names() if losses.get(name).kind == "response"]
ON_LOGITS = ["bkd", "kl", "obj_gated"]


@pytest.fixture(scope="session")
def build(build: Build, tiny_yaml: Callable[..., str]) -> Build:
    """A small network in place of YOLOv8n: the same branches and bins."""
    return lambda **options: build(tiny_yaml(8), **options)


def named(model: Any, names: list[str]) -> Any:
    model.names = dict(enumerate(names))
    return model


def make(build: Build, kept: KeptClasses, teacher_names: list[str] = NAMES, **term: Any) -> Any:
    student = named(build(classes=1), ["item"]) if kept.single else named(build(classes=3), NAMES)
    teacher = named(build(classes=len(teacher_names), seed=1), teacher_names)
    config = DistillConfig.parse({"teacher": "t", "terms": [term]}, "here")
    return next(iter(named_terms(build_terms(config, student, [Teacher(teacher)], seed=0, kept=kept)).values()))


def raw(classes: int, seed: int) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(seed)
    feats = [torch.zeros(2, 4, side, side) for side in (8, 4, 2)]
    return {
        "scores": torch.randn(2, classes, 84, generator=rng).requires_grad_(),
        "boxes": torch.randn(2, 64, 84, generator=rng),
        "feats": feats,
    }


@pytest.mark.parametrize("gate", ["confidence", "balanced", "assigned", "all"])
@pytest.mark.parametrize("loss", ON_LOGITS)
def test_no_gradient_reaches_a_class_that_was_filtered_out(build: Build, loss: str, gate: str) -> None:
    own, other = raw(3, 1), raw(3, 2)
    labels = Labels([], (64, 64), torch.ones(2, 84, dtype=torch.bool))
    term = make(build, KeptClasses((0, 2)), loss=loss, gate=gate)
    term.compare(Outputs({}, own), Outputs({}, other), labels).backward()
    grad = own["scores"].grad
    assert torch.count_nonzero(grad[:, 1]) == 0
    assert torch.count_nonzero(grad[:, 0]) > 0
    assert torch.count_nonzero(grad[:, 2]) > 0


@pytest.mark.parametrize("gate", ["confidence", "balanced"])
@pytest.mark.parametrize("loss", ["bkd", "kl", "obj_gated", "box_iou", "dfl_kl"])
def test_what_the_teacher_says_of_such_a_class_changes_nothing(build: Build, loss: str, gate: str) -> None:
    own, other = raw(3, 1), raw(3, 2)
    shouted = {**other, "scores": other["scores"].detach().clone()}
    shouted["scores"][:, 1] += 9.0  # it sees that class everywhere
    for kept, is_same in ((KeptClasses((0, 2)), True), (KeptClasses(), False)):
        term = make(build, kept, loss=loss, gate=gate)
        values = [float(term.compare(Outputs({}, own), Outputs({}, side)).detach()) for side in (other, shouted)]
        assert (values[0] == values[1]) is is_same


def test_classes_in_another_order_are_left_out_by_name(build: Build) -> None:
    own, other = raw(3, 1), raw(4, 2)
    term = make(build, KeptClasses((0, 2)), ["blue", "sky", "green", "red"], loss="bkd", gate="all")
    assert term.classes.student == (0, 2)
    assert term.classes.teacher == (3, 0)
    term.compare(Outputs({}, own), Outputs({}, other)).backward()
    assert torch.count_nonzero(own["scores"].grad[:, 1]) == 0
    assert make(build, KeptClasses((0, 2)), ["blue", "sky", "green", "red"], loss="box_iou").taught == (0, 1, 3)


def test_crosskd_does_not_listen_to_that_part_of_the_teachers_head(build: Build) -> None:
    student, teacher = named(build(classes=3), NAMES), named(build(classes=3, seed=1), NAMES)
    config = DistillConfig.parse({"teacher": "t", "terms": [{"loss": "crosskd"}]}, "here")
    values = {}
    for kept in (KeptClasses((0, 2)), KeptClasses()):
        values[kept] = []
        for shift in (0.0, 5.0):
            other = build(classes=3, seed=1)
            other.names = teacher.names
            for level in other.model[-1].cv3:
                level[-1].bias.data[1] += shift
            values[kept].append(_cross_value(config, student, Teacher(other), kept))
    assert values[KeptClasses((0, 2))][0] == values[KeptClasses((0, 2))][1]
    assert values[KeptClasses()][0] != values[KeptClasses()][1]


def _cross_value(config: DistillConfig, student: Any, teacher: Teacher, kept: KeptClasses) -> float:
    from kd_yolo.distill.criterion import DistillCriterion, WeightedTerm
    from kd_yolo.geometry.schedule import Schedule

    terms = build_terms(config, student, [teacher], seed=0, kept=kept)
    criterion = DistillCriterion(student, terms, [teacher], {"kd_crosskd": WeightedTerm(1.0, Schedule("constant"))})
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        criterion.observe({"img": image}, 0.0)
        outputs = criterion.student.outputs(student.train()(image))
        return float(terms["kd_crosskd"](outputs, criterion._pending))


@pytest.mark.parametrize("loss", RESPONSE)
def test_one_line_says_what_is_left_out(build: Build, loss: str) -> None:
    term = make(build, KeptClasses((0, 2)), loss=loss)
    assert term.notes[0] == "classes=0,2: response losses leave out class 1"
    assert not [note for note in make(build, KeptClasses(), loss=loss).notes if "leave out" in note]


def test_feature_losses_stay_as_they_are(build: Build) -> None:
    for loss in ("cwd", "fgd", "score_l2"):
        assert list(make(build, KeptClasses((0,)), loss=loss).notes) == list(
            make(build, KeptClasses(), loss=loss).notes
        )


def test_the_line_is_bounded() -> None:
    note = KeptClasses(tuple(range(0, 1000, 2))).note(1000)
    assert note is not None
    assert len(note) < 150
    assert "and 490 more" in note
    assert KeptClasses((0, 1)).note(2) is None


@pytest.mark.parametrize(
    ("kept", "teacher", "loss", "message"),
    [
        (KeptClasses((0,)), NAMES, "kl", "kl over 1 class is identically 0"),
        (KeptClasses((1,)), ["red", "blue"], "bkd", "the teacher knows none of classes=1"),
        (KeptClasses((0, 1)), ["blue"], "obj_gated", "the teacher knows none of classes=0,1"),
        (KeptClasses((0, 1)), ["blue"], "box_iou", "the teacher knows none of classes=0,1"),
        (KeptClasses(single=True), NAMES, "bkd", "single_cls=True makes one class of all, the teacher has 3"),
        (KeptClasses(single=True), ["item"], "kl", "kl over 1 class is identically 0"),
    ],
)
def test_nothing_left_to_compare(build: Build, kept: KeptClasses, teacher: list[str], loss: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(build, kept, teacher, loss=loss)


@pytest.mark.parametrize("loss", ["cwd", "box_iou", "crosskd", "bkd"])
def test_one_class_of_all_and_a_teacher_of_one(build: Build, loss: str) -> None:
    student, teacher = named(build(classes=1), ["item"]), named(build(classes=1, seed=1), ["person"])
    config = DistillConfig.parse({"teacher": "t", "terms": [{"loss": loss}]}, "here")
    assert named_terms(build_terms(config, student, [Teacher(teacher)], seed=0, kept=KeptClasses(single=True)))


def test_what_is_kept_is_read_from_the_arguments() -> None:
    assert KeptClasses.of({"classes": 1}) == KeptClasses((1,))
    assert KeptClasses.of({"classes": [2, 0], "single_cls": True}) == KeptClasses((0, 2), single=True)
    assert KeptClasses.of({"classes": None}) == KeptClasses()


def test_a_run_says_it_and_trains_without_that_class(train: Any, logged: list[str]) -> None:
    trainer = train(loss="bkd", classes=[0], epochs=1, imgsz=32, batch=8, finish=False)
    assert any("kd_bkd: classes=0: response losses leave out class 1" in line for line in logged)
    assert trainer.criterion.terms["kd_bkd"].classes.student == (0,)
