"""Modes of ultralytics' trainer under distillation: time limit, frozen layers, sizes that change, accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

Train = Callable[..., Any]


def columns_are_positive(table: list[dict[str, str]], name: str = "train/kd_cwd") -> bool:
    return all(math.isfinite(float(row[name])) and float(row[name]) > 0 for row in table)


def test_time_limit_keeps_progress_in_range_and_monotone(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of epochs is re-estimated after every epoch: it falls from 100, and then goes up and down."""
    seen: list[tuple[float, int, float]] = []

    def note(trainer: Any) -> None:
        seen.append((trainer._reached, trainer.epochs, trainer.criterion.factors["kd_cwd"]))

    def wobble(trainer: Any) -> None:  # after upstream's estimate
        trainer.epochs = trainer.args.epochs = {0: 4, 1: 8, 2: 4, 3: 4}.get(trainer.epoch, 4)

    on = {"on_train_batch_end": note, "on_fit_epoch_end": wobble}
    trainer = train(
        epochs=100, time=1.0, schedule="linear", on=on | {"on_train_epoch_end": stop_after(4)}, finish=False, save=True
    )
    progress = [p for p, _, _ in seen]
    assert len({epochs for _, epochs, _ in seen}) == 3
    assert progress == sorted(progress)
    assert progress[2] == pytest.approx(1 / 4)  # the second epoch counts with the new estimate
    assert progress[4] == progress[5] == pytest.approx(1.5 / 4)  # held, not thrown back to 2 / 8
    assert 0 <= min(progress) <= max(progress) <= 1
    assert [factor for _, _, factor in seen] == pytest.approx([1 - 0.9 * p for p in progress])
    assert trainer.best.is_file()


def test_time_limit_stops_with_mosaic_of_the_newest_estimate(train: Train) -> None:
    factors: list[float] = []

    def estimate(trainer: Any) -> None:  # after upstream's
        trainer.epochs = trainer.args.epochs = 3

    on = {
        "on_train_batch_end": lambda t: factors.append(t.criterion.factors["kd_cwd"]),
        "on_fit_epoch_end": estimate,
        "on_train_epoch_end": stop_after(3),
    }
    train(epochs=100, time=1.0, schedule="constant", stop_at="mosaic", close_mosaic=1, on=on, finish=False)
    assert factors == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def stop_after(epochs: int) -> Callable[[Any], None]:
    def callback(trainer: Any) -> None:
        trainer.stop = trainer.epoch + 1 >= epochs

    return callback


def test_a_very_short_time_limit_ends_cleanly(train: Train, rows: Any) -> None:
    trainer = train(epochs=50, time=1e-4, stop_at="mosaic", close_mosaic=1)  # 0.36 s
    assert 1 <= len(rows(trainer)) < 50
    assert trainer.best.is_file()


def test_frozen_backbone_stays_and_the_rest_learns(train: Train, rows: Any) -> None:
    start: dict[str, torch.Tensor] = {}

    def keep(trainer: Any) -> None:
        start.update({k: v.clone() for k, v in trainer.model.state_dict().items() if v.ndim})

    trainer = train(freeze=4, epochs=1, finish=False, on={"on_train_start": keep})
    moved = {k for k, v in trainer.model.state_dict().items() if v.ndim and not torch.equal(v, start[k])}
    assert not {k for k in moved if k.startswith("model.") and int(k.split(".")[1]) < 4}
    assert any(k.startswith("model.5.") for k in moved)
    assert any(k.startswith("kd_adapters.") for k in moved)
    assert columns_are_positive(rows(trainer))


def test_image_size_that_changes(train: Train, rows: Any) -> None:
    trainer = train(imgsz=128, multi_scale=0.5, epochs=2, loss="cwd+bkd+mgd", close_mosaic=1, finish=False)
    assert columns_are_positive(rows(trainer))
    assert columns_are_positive(rows(trainer), "train/kd_mgd")


@pytest.mark.slow
def test_rectangular_batches(train: Train, rows: Any) -> None:
    assert columns_are_positive(
        rows(train(imgsz=128, rect=True, epochs=1, loss="cwd+bkd", finish=False)), "train/kd_bkd"
    )


def test_accumulated_micro_batches_add_up(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distillation grows with the batch as the task loss does: two halves have the gradient of the whole."""
    gradients: list[torch.Tensor] = []
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters: Any, **options: Any) -> Any:
        parameters = list(parameters)
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        return clip(parameters, **options)

    def only_distillation(trainer: Any) -> None:
        base = trainer.model.init_criterion()
        trainer.criterion.base = lambda preds, batch: (base(preds, batch)[0].detach(), base(preds, batch)[1])

    def fixed_norms(trainer: Any) -> None:
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    still = dict(mosaic=0, hsv_h=0, hsv_s=0, hsv_v=0, scale=0, translate=0, fliplr=0)
    on = {"on_train_start": only_distillation, "on_train_batch_start": fixed_norms}
    for size in (4, 8):
        train(
            batch=size,
            loss=[{"loss": "cwd", "standardize": False}],
            epochs=1,
            finish=False,
            nbs=8,
            schedule="constant",
            on=on,
            **still,
        )
    halves, whole = gradients
    assert torch.allclose(halves, whole, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))
    assert float(whole.abs().max()) > 0
