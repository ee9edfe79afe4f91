"""Feature terms: what reaches the loss, the shipped loss reproduced, zero for equal models, seeds."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn.distill_model import DistillationModel

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.distill.terms import FeatureTerm, Term
from kd_yolo.yolo.heads import head_facts, raw_outputs

Build = Callable[..., Any]
IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def make(student: Any, teacher: Any, *, seed: int = 0, **term: Any) -> Any:
    config = DistillConfig.parse({"teacher": "t", "terms": [term]}, "here")
    return next(iter(named_terms(build_terms(config, student, [Teacher(deepcopy(teacher))], seed=seed)).values()))


def outputs(student: nn.Module, term: Term) -> Outputs:
    """The student's outputs as the criterion hands them to a term with taps at the head's inputs."""
    raw = raw_outputs(student(IMAGE))
    return Outputs(dict(zip(head_facts(student).layers, raw["feats"], strict=True)), raw)


def value(student: Any, teacher: Any, **term: Any) -> torch.Tensor:
    built = make(student, teacher, **term)
    look = Teacher(teacher).watch([pair.teacher.layer for pair in built.pairs], needs_head=built.needs_head)
    return built.compare(outputs(student, built), look(IMAGE))  # type: ignore[no-any-return]


def twins(build: Build) -> tuple[Any, Any]:
    """Two equal models in eval mode, which alone makes their features equal."""
    return build(seed=3).eval(), build(seed=3).eval()


@pytest.mark.parametrize("loss", ["l2", "pkd", "cwd", "score_l2"])
def test_a_teacher_equal_to_the_student_costs_nothing(build: Build, loss: str) -> None:
    assert float(value(*twins(build), loss=loss, adapter="auto")) == pytest.approx(0, abs=1e-6)
    other = value(build(seed=4).eval(), build(seed=3).eval(), loss=loss, adapter="auto")
    assert float(other) > 1e-4


@pytest.mark.parametrize("adapter", ["auto", "conv1x1", "mlp"])
def test_adapters_bring_the_student_to_the_teacher(build: Build, adapter: str) -> None:
    term = make(build(), build("tiny32"), loss="l2", adapter=adapter)
    assert [pair.student.channels for pair in term.pairs] == [16, 32, 32]
    assert [pair.teacher.channels for pair in term.pairs] == [32, 64, 64]
    shapes = [
        a(torch.rand(1, p.student.channels, 4, 4)).shape[1] for a, p in zip(term.adapters, term.pairs, strict=True)
    ]
    assert shapes == [32, 64, 64]


def test_sum_over_levels_of_the_loss_on_standardised_maps(build: Build) -> None:
    student, teacher = build(seed=1).eval(), build(seed=2).eval()
    term = make(student, teacher, loss="l2", adapter="auto", standardize=True)
    look = Teacher(teacher).watch([3, 4, 5], needs_head=False)(IMAGE)
    own = outputs(student, term)
    expected = 0.0
    for layer in (3, 4, 5):
        maps = [m.double() for m in (own.features[layer], look.features[layer])]
        spreads = [(m.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-6).sqrt() for m in maps]
        a, b = ((m - m.mean((0, 2, 3), keepdim=True)) / spread for m, spread in zip(maps, spreads, strict=True))
        expected += float((a - b).square().mean())
    assert float(term.compare(own, look)) == pytest.approx(expected, rel=1e-4)


def test_score_l2_equals_the_loss_that_ultralytics_ships(build: Build) -> None:
    student, teacher = build(seed=1).eval(), build("tiny32", seed=2).eval()
    teacher.model[-1].cv3[0][-1].bias.data += 3  # scores that differ from place to place and level to level
    term = make(student, teacher, loss="score_l2")
    look = Teacher(teacher).watch([3, 4, 5], needs_head=True)(IMAGE)
    own = outputs(student, term)
    assert look.raw is not None
    sizes = [f.shape[-2] * f.shape[-1] for f in look.raw["feats"]]
    scores = tuple(p.sigmoid().max(1, keepdim=True).values for p in torch.split(look.raw["scores"], sizes, dim=-1))
    shipped = sum(
        DistillationModel.loss_sl2(None, adapter(own.features[layer]), look.features[layer], i, scores)
        for i, (adapter, layer) in enumerate(zip(term.adapters, (3, 4, 5), strict=True))
    )
    assert float(term.compare(own, look)) == pytest.approx(float(shipped), rel=1e-5)


def test_score_l2_at_a_level_without_scores_is_refused(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"which its head gives at strides \[8, 16, 32\]: not at layer 2 \(stride 4"):
        make(build(), build(), loss="score_l2", taps=[2, 3])
    assert isinstance(make(build(), build(), loss="cwd", taps=[2, 3]), FeatureTerm)


def test_only_what_needs_the_teachers_head_asks_for_it(build: Build) -> None:
    needs = {
        loss: make(build(), build(), loss=loss).needs_head for loss in ("cwd", "mgd", "l2", "pkd", "score_l2", "bkd")
    }
    assert {loss for loss, needed in needs.items() if needed} == {"score_l2", "bkd"}


def test_mgd_is_built_with_the_teachers_channels_and_a_seed_a_level(build: Build) -> None:
    term = make(build(), build("tiny32"), loss="mgd", seed=5, params={"bottleneck": 8})
    assert [loss.channels for loss in term.losses] == [32, 64, 64]
    masks = [loss.draw_keep_mask(1, 6, 6) for loss in term.losses]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def test_building_is_seeded_and_leaves_the_random_state_alone(build: Build) -> None:
    student, teacher = build(), build("tiny32")
    states = []
    for seed in (1, 1, 2):
        before = torch.get_rng_state()
        term = make(student, teacher, loss="mgd", seed=seed, params={"bottleneck": 8})
        assert torch.equal(before, torch.get_rng_state())
        states.append(torch.cat([p.detach().flatten() for p in term.parameters()]))
        torch.rand(3)  # wherever the global stream stands
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_other_image_channels_are_refused(build: Build) -> None:
    with pytest.raises(InputError, match="the teacher takes 1-channel images, the student 3-channel ones"):
        make(build(), build(channels=1), loss="cwd")
