"""The teacher in every N-th step, where its terms count N times; and the teacher in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import resolve_distill
from kd_yolo.distill.teachers.teacher import Teacher

Train = Callable[..., Any]


def test_every_second_step_counts_twice(train: Train) -> None:
    seen: list[tuple[float, float]] = []

    def note(trainer: Any) -> None:
        seen.append((trainer.criterion.factors["kd_cwd"], float(trainer.loss_items["kd_cwd"])))

    settings = dict(schedule="constant", weight=3.0, epochs=3, batch=3, finish=False, on={"on_train_batch_end": note})
    every = train(teacher_every=2, **settings)
    assert [factor for factor, _ in seen] == [6.0, 0.0] * 4 + [6.0]  # three steps an epoch
    assert [value > 0 for _, value in seen] == [True, False] * 4 + [True]
    halved = [row["gradient_share"] for row in every.criterion.balance.history]
    first = seen[0][1]
    del seen[:]
    whole = train(name="whole", **{**settings, "epochs": 1})
    assert first == pytest.approx(2 * seen[0][1])
    assert halved[0] == pytest.approx(whole.criterion.balance.history[0]["gradient_share"], rel=1e-3)


def test_an_automatic_weight_does_not_depend_on_it(train: Train) -> None:
    def weight(name: str, **own: Any) -> float:
        trainer = train(name=name, weight="auto:0.3", epochs=1, finish=False, **own)
        return float(trainer.criterion.balance.weights["kd_cwd"])

    assert weight("a") == pytest.approx(weight("b", teacher_every=3), rel=1e-3)


def test_the_teacher_in_bfloat16(build: Any) -> None:
    image = torch.rand(2, 3, 64, 64)
    whole, half = (Teacher(build(), half=half).watch([4], needs_head=True)(image) for half in (False, True))
    for a, b in ((whole.raw["scores"], half.raw["scores"]), (whole.features[4], half.features[4])):  # type: ignore[index]
        assert b.dtype == torch.bfloat16
        assert not torch.equal(a, b.float())
        assert torch.allclose(a, b.float(), atol=0.05 * float(a.abs().max()))


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_wrong_numbers_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="teacher_every"):
        resolve_distill("t.pt", "bkd", teacher_every=value)
