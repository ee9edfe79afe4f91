"""The learning rate as a function of progress, and what decays."""

from __future__ import annotations

import pytest
from torch import nn

from kd_yolo.reid.settings import TrainSettings
from kd_yolo.reid.train.optimizer import learning_rate, make_optimizer, set_learning_rate


def test_warm_up_then_steps() -> None:
    settings = TrainSettings(epochs=100, warmup=10, lr=1.0, schedule="step", milestones=(0.4, 0.7))
    rates = [learning_rate(settings, epoch) for epoch in (0, 5, 10, 39.9, 40, 69.9, 70, 99)]
    assert rates == pytest.approx([0.01, 0.505, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_then_cosine() -> None:
    settings = TrainSettings(epochs=110, warmup=10, lr=2.0, schedule="cosine")
    assert [learning_rate(settings, e) for e in (10, 60, 110)] == pytest.approx([2, 2 * (0.01 + 0.99 / 2), 0.02])


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(TrainSettings(warmup=0, lr=0.5), 0) == 0.5


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    network[1].bias.requires_grad_(False)
    optimizer = make_optimizer(network, TrainSettings(optimizer=name, weight_decay=0.3))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays.get(id(p)) for p in network.parameters()] == [0.3, 0, 0, None, 0.3, 0]
    set_learning_rate(optimizer, 0.125)
    assert {group["lr"] for group in optimizer.param_groups} == {0.125}
