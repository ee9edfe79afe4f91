"""The criterion: task loss + weighted terms as one vector; when the teacher runs; skips; hooks; copies."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ultralytics.cfg import get_cfg

from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms
from kd_yolo.distill.criterion import DistillCriterion, WeightedTerm
from kd_yolo.distill.taps import TapError
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.geometry.schedule import Schedule

Make = Callable[..., Any]


def batch(images: int = 2) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4]]).repeat(images, 1)
    return {
        "img": torch.rand(images, 3, 64, 64, generator=rng),
        "cls": torch.zeros(images, 1),
        "bboxes": boxes,
        "batch_idx": torch.arange(images).float(),
    }


@pytest.fixture
def make(build: Callable[..., Any]) -> Make:
    """A criterion on a training student with the given terms; attributes ``student`` and ``look`` for the tests."""

    def of(*terms: dict[str, Any], schedule: Schedule | None = None, student: Any = None) -> Any:
        student, look = student or build().train(), build("tiny32", seed=1)
        student.args = get_cfg()
        config = DistillConfig.parse({"teacher": "t", "terms": list(terms)}, "here")
        teacher = Teacher(look)
        built = build_terms(config, student, [teacher], seed=0)
        names = config.term_names()
        weights = {
            n: WeightedTerm(t.weight, schedule or Schedule("constant"))
            for n, t in zip(names, config.terms, strict=True)
        }
        return DistillCriterion(student, built, [teacher], weights)

    return of


def step(criterion: Any, data: dict[str, Any], progress: float = 0.0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    criterion.observe(data, progress)
    return criterion(criterion.model(data["img"]), data)  # type: ignore[no-any-return]


def test_vector_is_the_task_loss_and_the_sum_of_terms_times_the_batch(make: Make) -> None:
    criterion, data = make({"loss": "cwd", "weight": 2}, {"loss": "bkd", "weight": 3}), batch(2)
    preds = criterion.model(data["img"])
    task, items = criterion.model.init_criterion()(preds, data)
    criterion.observe(data, 0.0)
    vector, named = criterion(preds, data)
    assert torch.equal(vector[:3], task)
    assert vector.shape == (4,)
    assert {k: v for k, v in named.items() if k in items} == items
    assert set(named) - set(items) == {"kd_cwd", "kd_bkd"}
    assert float(vector[3]) == pytest.approx(2 * float(named["kd_cwd"] + named["kd_bkd"]))
    assert not any(v.requires_grad for v in named.values())


def test_distillation_over_task_loss_does_not_depend_on_the_batch(make: Make) -> None:
    """Both are means over images times the batch size: the same image twice doubles both."""
    criterion, one = make({"loss": "cwd", "standardize": False}), batch(1)
    criterion.model.eval()
    criterion.model.training = True  # BatchNorm stays in eval: its statistics would depend on the batch
    criterion.model.model[-1].train()
    two = {k: torch.cat([v, v]) for k, v in one.items()} | {"batch_idx": torch.tensor([0.0, 1.0])}
    (single, _), (double, _) = step(criterion, one), step(criterion, two)
    assert float(double[3]) == pytest.approx(2 * float(single[3]), rel=1e-4)


def test_weight_and_schedule_scale_a_term(make: Make) -> None:
    values = [
        float(step(make({"loss": "bkd", "weight": w}, schedule=Schedule("linear", end=0.0)), batch(), p)[1]["kd_bkd"])
        for w, p in ((1, 0.0), (4, 0.0), (4, 0.75))
    ]
    assert values[1] == pytest.approx(4 * values[0])
    assert values[2] == pytest.approx(values[0])


def test_two_terms_of_one_loss_are_two_columns(make: Make) -> None:
    items = step(make({"loss": "bkd"}, {"loss": "bkd", "gate": "all"}), batch())[1]
    assert float(items["kd_bkd"]) != float(items["kd_bkd2"])


def count_teacher(criterion: Any) -> list[int]:
    calls: list[int] = []
    whole = criterion.teachers[0]
    criterion.teachers[0] = lambda image: (calls.append(len(image)), whole(image))[1]
    return calls


def test_the_teacher_runs_only_while_a_term_is_on(make: Make) -> None:
    criterion = make({"loss": "bkd"}, {"loss": "cwd", "weight": 0}, schedule=Schedule("constant", stop_at=0.5))
    calls = count_teacher(criterion)
    on, off = step(criterion, batch(), 0.49)[1], step(criterion, batch(), 0.5)[1]
    assert len(calls) == 1
    assert float(on["kd_bkd"]) > 0
    assert [float(items[k]) for items in (on, off) for k in ("kd_cwd",)] == [0.0, 0.0]
    assert float(off["kd_bkd"]) == 0.0


def test_without_an_observation_it_is_the_task_loss_and_zeros(make: Make) -> None:
    criterion, data = make({"loss": "bkd"}), batch()
    vector, items = criterion(criterion.model(data["img"]), data)
    assert (float(vector[3]), float(items["kd_bkd"])) == (0.0, 0.0)
    step(criterion, data)
    assert float(criterion(criterion.model(data["img"]), data)[0][3]) == 0.0  # an observation serves one call


def test_in_eval_it_is_the_task_criterion(make: Make) -> None:
    criterion, data = make({"loss": "bkd"}), batch()
    criterion.model.eval()
    vector, items = criterion(criterion.model(data["img"]), data)
    assert vector.shape == (3,)
    assert not any(name.startswith("kd_") for name in items)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_term_that_is_not_finite_is_skipped_and_counted(make: Make, bad: float) -> None:
    criterion = make({"loss": "cwd"}, {"loss": "bkd"})
    told: list[tuple[str, str]] = []
    criterion.on_skip = lambda name, value: told.append((name, str(value)))
    cwd = criterion.terms["kd_cwd"].losses[0]
    cwd.forward = lambda student, teacher: student.sum() * bad
    vector, items = step(criterion, batch())
    assert criterion.skipped == {"kd_cwd": 1, "kd_bkd": 0}
    assert [name for name, _ in told] == ["kd_cwd"]
    assert float(items["kd_cwd"]) == 0.0
    assert float(vector[3]) == pytest.approx(2 * float(items["kd_bkd"]))
    assert float(items["kd_bkd"]) > 0
    vector.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in criterion.model.parameters())


def test_a_static_graph_keeps_terms_that_are_off_in_it(make: Make) -> None:
    """DDP with compile=True wants a gradient for every parameter in every step: 0, whatever the parameter holds."""
    criterion, data = make({"loss": "cwd"}, {"loss": "bkd"}, schedule=Schedule("constant", stop_at=0.5)), batch()
    weight = criterion.terms["kd_cwd"].adapters[0].weight
    step(criterion, data, 0.9)[0].sum().backward()
    assert weight.grad is None
    criterion.static_graph = True
    weight.data[0] = float("nan")
    vector = step(criterion, data, 0.9)[0]
    vector.sum().backward()
    assert float(vector[3]) == 0.0
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert step(criterion, data, 0.1)[0].isfinite().all()  # skipped
    assert criterion.skipped["kd_cwd"] == 1


def hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_taps_beside_the_head_are_hooked_for_one_pass(make: Make) -> None:
    criterion, data = make({"loss": "cwd", "taps": [2, 3]}), batch()
    assert criterion.student.extra_layers == [2]
    criterion.observe(data, 0.0)
    assert hooks(criterion.model) == 1
    criterion.model(data["img"])
    with pytest.raises(TapError, match=r"\{2: 2\}"):
        criterion(criterion.model(data["img"]), data)
    assert hooks(criterion.model) == 0
    assert float(step(criterion, data)[1]["kd_cwd"]) > 0


def test_a_failed_step_leaves_nothing_behind(make: Make) -> None:
    criterion, data = make({"loss": "cwd", "taps": [2, 3]}), batch()
    criterion.observe(data, 0.0)
    criterion.observe(data, 0.0)  # the step before never came to its end
    assert hooks(criterion.model) == 1
    criterion.forget()
    assert hooks(criterion.model) == 0
    assert criterion._pending == []
    criterion.forget()


def test_update_is_there_exactly_when_the_task_has_it(make: Make) -> None:
    criterion = make({"loss": "bkd"})
    assert not hasattr(criterion, "update")
    criterion.base = SimpleNamespace(update=lambda: "updated")
    assert criterion.update() == "updated"
    criterion.base = object()
    assert not hasattr(criterion, "update")
    with pytest.raises(AttributeError):
        criterion.anything  # noqa: B018


def test_is_in_no_copy_and_no_pickle(make: Make) -> None:
    criterion = make({"loss": "bkd"})
    assert deepcopy(criterion) is None
    assert pickle.loads(pickle.dumps(criterion)) is None
