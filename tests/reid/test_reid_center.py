"""Center loss: the formula, and centres that move by the paper's rule."""

from __future__ import annotations

import pytest
import torch

from kd_yolo.reid.losses.center import CenterLoss, center_loss, moved_centers

from .loss_helpers import (
    NOT_NUMBERS,
    assert_batch_mean,
    assert_precise,
    assert_rejects,
    assert_student_only,
    random,
)

TARGETS = torch.tensor([0, 2, 0, 0])


def test_formula() -> None:
    features, centers = random(4, 5, seed=1), random(4, 5, seed=2)
    total = sum((features[n, d] - centers[n, d]).item() ** 2 for n in range(4) for d in range(5))
    assert center_loss(features, centers).item() == pytest.approx(total / 8, rel=1e-9)


def test_centers_move_as_in_the_paper() -> None:
    features, centers = random(4, 5, seed=1), random(3, 5, seed=2)
    moved = moved_centers(centers, features, TARGETS, 0.5)
    for k in range(3):
        rows = [n for n in range(4) if TARGETS[n] == k]
        for d in range(5):
            step = sum((centers[k, d] - features[n, d]).item() for n in rows) / (1 + len(rows))
            assert moved[k, d].item() == pytest.approx(centers[k, d].item() - 0.5 * step, rel=1e-9)
    assert torch.equal(moved[1], centers[1])


def test_module_moves_after_the_loss_in_training_only() -> None:
    loss = CenterLoss(3, 5)
    features = random(4, 5).float()
    first = loss(features, TARGETS)
    assert first.item() == pytest.approx(features.square().sum().item() / 8, rel=1e-6)
    assert torch.allclose(loss.centers_kd, moved_centers(torch.zeros(3, 5), features, TARGETS, 0.5))
    assert loss(features, TARGETS) < first
    loss.eval()
    before = loss.centers_kd.clone()
    loss(features, TARGETS)
    assert torch.equal(loss.centers_kd, before)
    assert list(loss.state_dict()) == ["centers_kd"]
    assert list(loss.parameters()) == []


def test_a_rate_of_one_is_the_largest() -> None:
    loss = CenterLoss(1, 2, rate=1.0)
    loss(torch.tensor([[2.0, 4.0]]), torch.tensor([0]))
    assert loss.centers_kd.tolist() == [[1.0, 2.0]]  # from 0, by f / (1 + 1)


def test_centers_come_to_the_features() -> None:
    loss = CenterLoss(3, 5)
    features = random(3, 5).float()
    for _ in range(60):
        value = loss(features, torch.arange(3))
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_gradient_precision_and_batch() -> None:
    features, centers = random(4, 5, seed=1), random(4, 5, seed=2)
    assert_student_only(center_loss, features, centers)
    assert_precise(center_loss, features * 30, centers * 30)
    assert_batch_mean(center_loss, features, centers)


def test_half_features_move_float_centers() -> None:
    loss = CenterLoss(3, 5)
    assert loss(random(4, 5).half(), TARGETS).dtype == torch.float32
    assert loss.centers_kd.dtype == torch.float32


def test_errors() -> None:
    assert_rejects(lambda rate: CenterLoss(3, 5, rate), "rate", [0, -0.1, 1.1, None, *NOT_NUMBERS])
    assert_rejects(lambda dim: CenterLoss(3, dim), "dim", [0, 1.5, None])
    assert_rejects(lambda num_identities: CenterLoss(num_identities, 5), "num_identities", [0, 1.5, None])
