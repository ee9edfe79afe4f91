"""Several teachers, and the student's own moving average as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig, resolve_distill
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.teachers.teacher import EMATeacher, Teacher
from kd_yolo.distill.terms import MeanTerm
from kd_yolo.yolo.heads import head_facts, raw_outputs

Build = Callable[..., Any]
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def terms_of(student: Any, teachers: list[Teacher], *terms: dict[str, Any]) -> dict[str, Any]:
    config = DistillConfig.parse({"teacher": [f"t{i}" for i in range(len(teachers))], "terms": list(terms)}, "here")
    return named_terms(build_terms(config, student, teachers, seed=0))


def outputs(student: Any) -> Outputs:
    raw = raw_outputs(student(IMAGE))
    return Outputs(dict(zip(head_facts(student).layers, raw["feats"], strict=True)), raw)


def test_the_mean_over_teachers(build: Build) -> None:
    student = build().train()
    teachers = [Teacher(build(seed=1)), Teacher(build(seed=2))]
    terms = terms_of(student, teachers, {"loss": "bkd"}, {"loss": "bkd", "teacher": 1}, {"loss": "bkd", "teacher": 2})
    own, said = outputs(student), [teacher(IMAGE) for teacher in teachers]
    mean, first, second = (float(terms[name](own, said)) for name in ("kd_bkd", "kd_bkd2", "kd_bkd3"))
    assert isinstance(terms["kd_bkd"], MeanTerm)
    assert first != second
    assert mean == pytest.approx((first + second) / 2, rel=1e-6)


def test_each_teacher_has_adapters_of_its_own(build: Build) -> None:
    teachers = [Teacher(build("tiny32")), Teacher(build("tiny8"))]
    term = terms_of(build(), teachers, {"loss": "cwd"})["kd_cwd"]
    widths = [[adapter.out_channels for adapter in member.adapters] for member in term.members()]
    assert widths == [[32, 64, 64], [8, 16, 16]]
    assert len(term.state_dict()) == 12


def test_a_teacher_runs_as_far_as_its_own_terms_need(build: Build) -> None:
    teachers = [Teacher(build(seed=1)), Teacher(build(seed=2))]
    terms_of(build(), teachers, {"loss": "bkd", "teacher": 1}, {"loss": "cwd", "teacher": 2})
    first, second = (teacher(IMAGE) for teacher in teachers)
    assert first.raw is not None
    assert first.features == {}
    assert second.raw is None
    assert list(second.features) == [3, 4, 5]


def test_a_teacher_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"term cwd: teacher=3, but there are 2 teacher\(s\)"):
        resolve_distill(["a.pt", "b.pt"], [{"loss": "cwd", "teacher": 3}])
    with pytest.raises(ConfigError, match="ema is named twice"):
        resolve_distill(["ema", "ema"], "cwd")


def test_the_average_teaches_as_it_moves(build: Build) -> None:
    student = build().train()
    average: list[Any] = []
    teacher = EMATeacher(build(), lambda: average[0] if average else None)
    teacher.watch([3], needs_head=True)
    before = teacher(IMAGE)
    average.append(build(seed=5).eval())
    after = teacher(IMAGE)
    assert not torch.equal(before.features[3], after.features[3])
    assert teacher.model is average[0]
    assert student is not teacher.model


def test_runs_with_two_teachers_and_the_average(train: Any, make_weights: Any, teacher: str, logged: list[str]) -> None:
    other = make_weights("tiny32", seed=2)
    trainer = train(teacher=[teacher, other, "ema"], loss="cwd+bkd", epochs=2, lr0=0.05, finish=False)
    assert all(float(trainer.tloss[k]) > 0 for k in ("kd_cwd", "kd_bkd"))
    assert len([line for line in logged if "kd_bkd weight 1, teacher" in line]) == 3
    ema = trainer.criterion.teachers[2]
    assert ema.model is trainer.ema.ema
    assert not ema.model.training
    assert all(m is None for m in (trainer.ema.ema._modules.get("kd_adapters"),))


def test_the_average_alone_starts_at_the_student(train: Any, student: str) -> None:
    """At the first step the average is the student, so that only BatchNorm's mode separates the two."""
    values: list[float] = []
    trainer = train(
        teacher="ema", loss="l2", weight=1, epochs=2, lr0=0.1, finish=False,
        on={"on_train_batch_end": lambda t: values.append(float(t.loss_items["kd_l2"]))},
    )  # fmt: skip
    assert sum(p.numel() for p in trainer.criterion.terms.parameters()) == 0  # equal widths need no adapters
    assert all(value >= 0 for value in values)
    assert len(set(values)) == len(values)
