"""Out of memory in the first epoch, NaN in the weights, terms that are not finite: the run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.losses.cwd import ChannelWiseLoss

Train = Callable[..., Any]


@pytest.mark.parametrize("where", ["distillation", "student"])
def test_out_of_memory_halves_the_batch(train: Train, rows: Any, where: str) -> None:
    sizes: list[int] = []
    progress: list[tuple[int, float]] = []
    left: dict[str, Any] = {}

    def fail_in_second_batch(_module: Any, inputs: Any) -> None:
        sizes.append(len(inputs[0]))
        if len(sizes) == 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def start(trainer: Any) -> None:
        term = trainer.criterion.terms["kd_cwd"]
        module = term.adapters[1] if where == "distillation" else trainer.model.model[4]
        module.register_forward_pre_hook(fail_in_second_batch)

    def at_restart(trainer: Any) -> None:
        if len(sizes) == 2:
            hooks = sum(len(module._forward_hooks) for module in trainer.model.modules())
            left.update(pending=trainer.criterion._pending, hooks=hooks)

    on = {
        "on_train_start": start,
        "on_train_epoch_start": at_restart,
        "on_train_batch_end": lambda t: progress.append((t.epoch, t._reached)),
    }
    trainer = train(batch=4, epochs=2, taps=[2, 3, 4], schedule="linear", on=on, finish=False)
    assert trainer.batch_size == 2
    assert left == {"pending": [], "hooks": 0}
    assert sizes[:3] == [4, 4, 2]
    # one batch of the lost epoch, then both epochs from their start with four batches each
    assert progress == [(0, 0.0), *((i // 4, pytest.approx(i / 8)) for i in range(8))]
    assert [float(row["train/kd_cwd"]) > 0 for row in rows(trainer)] == [True, True]


def test_other_errors_of_a_loss_are_not_swallowed(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ChannelWiseLoss, "compute", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train()


def test_nan_in_the_weights_is_recovered_adapters_included(train: Train, rows: Any, logged: list[str]) -> None:
    poisoned: list[int] = []

    def poison(trainer: Any) -> None:
        if trainer.epoch == 1 and not poisoned:
            poisoned.append(trainer.epoch)
            with torch.no_grad():
                for parameter in (trainer.model.model[0].conv.weight, *trainer.criterion.terms.parameters()):
                    parameter.fill_(float("nan"))

    trainer = train(epochs=3, on={"on_train_batch_start": poison}, finish=False, save=True)
    assert any("recovering from last.pt" in line for line in logged)
    assert trainer.nan_recovery_attempts == 0
    assert all(torch.isfinite(p).all() for p in trainer.criterion.terms.parameters())
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    table = rows(trainer)
    assert len(table) == 3
    assert all(float(row["train/kd_cwd"]) > 0 for row in table)


@pytest.mark.parametrize("bad", [math.nan, pytest.param(math.inf, marks=pytest.mark.slow)])
def test_a_term_that_is_not_finite_now_and_then(
    train: Train, rows: Any, monkeypatch: pytest.MonkeyPatch, logged: list[str], bad: float
) -> None:
    compute, calls = ChannelWiseLoss.compute, []

    def sometimes(self: Any, *maps: torch.Tensor) -> torch.Tensor:
        calls.append(len(calls))
        value = compute(self, *maps)
        return value * bad if calls[-1] in (2, 9) else value  # batches 1 and 4, three levels each

    monkeypatch.setattr(ChannelWiseLoss, "compute", sometimes)
    trainer = train(loss="cwd+bkd", epochs=3, finish=False)
    assert trainer.criterion.skipped == {"kd_cwd": 2, "kd_bkd": 0}
    warnings = [line for line in logged if "kd-yolo" in line and "skipped" in line]
    assert warnings == [
        f"kd-yolo: kd_cwd is {bad} in epoch 1: skipped, training goes on without",
        "kd-yolo: non-finite terms skipped so far: {'kd_cwd': 1}",
        "kd-yolo: non-finite terms skipped so far: {'kd_cwd': 2}",
    ]
    assert all(math.isfinite(float(v)) for row in rows(trainer) for v in row.values())
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_early_stop(train: Train, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_progress(self: Any) -> tuple[Any, float]:
        self.best_fitness = 0.5
        return {}, 0.5

    monkeypatch.setattr(DistillationTrainer, "validate", no_progress)
    trainer = train(epochs=9, patience=2)
    assert len(rows(trainer)) == 3
    assert trainer.best.is_file()
    assert torch.load(trainer.last, weights_only=False)["optimizer"] is None  # finished, not interrupted
