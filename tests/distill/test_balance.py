"""Shares of loss and gradient: measured as they are, kept where a share is asked for, the same after a resume."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import resolve_distill
from kd_yolo.distill.balance import Balance, crossing_of, describe, gradient_norms, too_much
from kd_yolo.distill.trainer import DistillationTrainer

Train = Callable[..., Any]


def test_gradient_norms_are_those_of_each_loss_alone() -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    other = torch.nn.Parameter(torch.ones(()))
    losses = {"a": weight.square().sum() / 2, "b": 2 * weight.sum() * other.detach()}
    norms = gradient_norms(losses, [weight, other])
    assert norms == {"a": pytest.approx(5), "b": pytest.approx(2 * math.sqrt(2))}
    losses["a"].backward()  # the graph is still there
    assert torch.equal(weight.grad, weight.detach())


class Sink(torch.autograd.Function):
    """What DDP puts behind its outputs: it notes every backward pass through it."""

    passes = 0

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        Sink.passes += 1
        return gradient


def test_a_measurement_goes_around_what_ddp_puts_behind_the_outputs() -> None:
    weight, adapter = torch.nn.Parameter(torch.tensor([3.0, 4.0])), torch.nn.Parameter(torch.ones(()))
    inside = {"feats": [weight * 2, weight.square()], "scores": weight.sum(), "name": "x", "anchors": torch.ones(2)}
    outer = {
        key: [Sink.apply(v) for v in value] if key == "feats" else Sink.apply(value) if key == "scores" else value
        for key, value in inside.items()
    }
    losses = {
        "one": outer["feats"][1].sum() + outer["scores"],
        "other": adapter * outer["feats"][0].sum(),
        "adapter": adapter.square(),  # has a gradient, but not of the network
        "off": None,
    }
    expected = gradient_norms(losses, [weight])
    assert expected == {
        "one": pytest.approx(math.sqrt(130)),
        "other": pytest.approx(math.sqrt(8)),
        "adapter": 0,
        "off": 0,
    }
    Sink.passes = 0
    assert gradient_norms(losses, [weight], crossing_of(outer, inside)) == pytest.approx(expected)
    assert Sink.passes == 0
    sum(loss for loss in losses.values() if loss is not None).backward()  # the graph is still there
    assert Sink.passes == 3
    assert weight.grad.tolist() == [9, 11]


def test_an_automatic_weight_makes_the_share() -> None:
    balance = Balance({"kd": 0.25})
    balance.take({"task": 6.0, "kd": 0.5}, {"kd": 0.5}, "task")  # unweighted, the term's gradient is 1
    weight = balance.weights["kd"]
    assert weight * 1.0 / (weight * 1.0 + 6.0) == pytest.approx(0.25)
    balance.take({"task": 24.0, "kd": weight}, {"kd": weight}, "task")
    assert balance.weights["kd"] == pytest.approx(math.sqrt(weight * 4 * weight))  # half the way, in logarithms


def test_a_share_that_is_far_too_large_does_not_wait() -> None:
    balance = Balance({"kd": 0.5}, weights={"kd": 100.0})
    balance.take({"task": 6.0, "kd": 600.0}, {"kd": 100.0}, "task")
    assert balance.weights == {"kd": pytest.approx(1.0)}


def test_weights_that_follow_are_measured_often_at_first(train: Train) -> None:
    measured: dict[str, list[int]] = {}
    for weight in ("auto:0.2", "1"):
        steps: list[int] = []

        def note(trainer: Any, steps: list[int] = steps) -> None:
            if not trainer.criterion.measure_next and trainer.criterion.balance._norms:
                steps.append(trainer.epoch * len(trainer.train_loader) + trainer._batches_seen)
            trainer.criterion.balance._norms = {}

        train(loss="cwd", weight=weight, batch=1, epochs=2, finish=False, on={"on_train_batch_end": note})
        measured[weight] = steps
    assert measured["1"] == [1, 9]  # the first batch of each epoch; counted behind the step
    assert measured["auto:0.2"] == [1, 3, 5, 9]


def test_a_term_that_is_off_keeps_its_weight() -> None:
    balance = Balance({"kd": 0.25}, weights={"kd": 3.0})
    balance.take({"task": 6.0}, {"kd": 0.0}, "task")
    assert balance.weights == {"kd": 3.0}


def test_rows_of_an_epoch() -> None:
    balance = Balance({})
    for task, terms in ((3.0, 1.0), (5.0, 3.0)):
        balance.add_loss(torch.tensor(task), torch.tensor(terms))
    balance.take({"task": 3.0, "kd_a": 1.0, "kd_b": 4.0}, {"kd_a": 1.0, "kd_b": 1.0}, "task")
    row = balance.close_epoch(1, "task")
    assert row["loss_share"] == pytest.approx(4 / 12)
    assert row["gradient_share"] == pytest.approx(5 / 8)
    assert row["gradient_share/kd_b"] == pytest.approx(0.5)
    assert describe(row) == ("distillation is 33% of the loss and 62% of the gradient (kd_a 12%, kd_b 50%)")
    assert balance.close_epoch(1, "task")["loss_share"] == 0  # an epoch that was done again replaces its row
    assert len(balance.history) == 1


def test_limits_of_loss_and_gradient() -> None:
    assert too_much({"loss_share": 0.6, "gradient_share": 0.8}) is None
    assert too_much({"loss_share": 0.61, "gradient_share": 0.9}) == 0.6
    assert too_much({"loss_share": 0.1, "gradient_share": 0.81}) == 0.8


@pytest.mark.parametrize("weight", ["auto:0", "auto:1", "auto:x", "auto:"])
def test_shares_out_of_range(weight: str) -> None:
    with pytest.raises(ConfigError, match=r"share|auto:0\.3"):
        resolve_distill("t.pt", "cwd", weight=weight)


def test_auto_weights_by_term() -> None:
    terms = resolve_distill("t.pt", "cwd+bkd", weight="auto:0.3+2").terms
    assert [term.share for term in terms] == [0.3, None]
    assert terms[1].weight == 2


def rows_of(trainer: Any) -> list[dict[str, str]]:
    with (Path(trainer.save_dir) / "balance.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_keeps_its_share(train: Train, logged: list[str]) -> None:
    """The weights follow the measurements: the first epoch has the share behind its first step, the others are near."""
    settings = dict(loss="cwd", schedule="constant", taps="head", finish=False, save=True)
    first = float(rows_of(train(weight=1, epochs=1, name="one", **settings))[0]["gradient_share"])
    trainer = train(weight="auto:0.4", epochs=4, **settings)
    rows = rows_of(trainer)
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    weights = [float(row["weight/kd_cwd"]) for row in rows]
    assert len(set(weights)) == 4
    assert float(rows[0]["gradient_share"]) == pytest.approx(0.4, rel=1e-3)
    assert weights[0] == pytest.approx(0.4 / 0.6 * (1 - first) / first, rel=1e-3)
    assert 0.2 < float(rows[-1]["gradient_share"]) < 0.6
    assert sum("of the gradient" in line for line in logged) >= 4


def test_too_much_distillation_is_said(train: Train, logged: list[str]) -> None:
    train(loss="cwd", weight=1000, epochs=1, finish=False)
    assert any("above 60% the labels count for little" in line for line in logged)


def test_too_little_distillation_is_said_once(train: Train, logged: list[str]) -> None:
    train(loss="cwd", weight=1e-6, epochs=2, finish=False)
    assert sum("kd_cwd below 1% of the gradient teaches next to nothing" in line for line in logged) == 1


@pytest.mark.parametrize(("names", "words"), [(["a"], "kd_a below 1% of the gradient teaches"), (["a", "b"], "teach ")])
def test_one_teaches_and_several_teach(names: list[str], words: str, logged: list[str]) -> None:
    balance = Balance({})
    terms = {f"kd_{name}": 1e-3 for name in names}
    balance.take({"task": 1.0, **terms}, dict.fromkeys(terms, 1.0), "task")
    run: Any = SimpleNamespace(criterion=SimpleNamespace(balance=balance), epoch=0)
    DistillationTrainer._report_balance(run)
    assert f"{words.strip()} next to nothing" in logged[-1]


def test_mgd_is_not_called_weak_at_its_default(train: Train, logged: list[str]) -> None:
    rows = rows_of(train(loss="mgd", epochs=2, schedule="constant", finish=False, save=True))
    assert float(rows[0]["gradient_share"]) == pytest.approx(0.1, rel=1e-3)
    assert 0.03 < float(rows[1]["gradient_share"]) < 0.3
    assert not any("teaches next to nothing" in line for line in logged)


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_weights(train: Train, tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise Stop

    settings = dict(loss="cwd", weight="auto:0.3", epochs=3, finish=False, save=True)
    whole = rows_of(train(**settings, name="whole"))
    with pytest.raises(Stop):
        train(**settings, name="part", on={"on_train_epoch_end": stop})
    last = tmp_path / "part" / "weights" / "last.pt"
    assert rows_of(train(model=str(last), resume=str(last), finish=False, save=True)) == whole
