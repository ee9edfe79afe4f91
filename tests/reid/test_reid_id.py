"""ID loss: cross-entropy with label smoothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.reid.losses.id import IdentityLoss, identity_loss

from .loss_helpers import NOT_NUMBERS, assert_batch_mean, assert_precise, assert_rejects, random

TARGETS = torch.tensor([0, 2, 1, 2])


def naive(logits: Tensor, targets: Tensor, smoothing: float) -> float:
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(x) for x in row))
        for k, x in enumerate(row):
            total -= ((1 - smoothing) * (k == target) + smoothing / len(row)) * (x - log_sum)
    return total / len(targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_formula(smoothing: float) -> None:
    logits = random(4, 3)
    assert IdentityLoss(smoothing)(logits, TARGETS).item() == pytest.approx(naive(logits, TARGETS, smoothing), rel=1e-9)


def test_equals_torch_with_0_1_by_default() -> None:
    logits = random(4, 3)
    assert torch.equal(IdentityLoss()(logits, TARGETS), F.cross_entropy(logits, TARGETS, label_smoothing=0.1))
    assert torch.equal(identity_loss(logits, TARGETS), IdentityLoss()(logits, TARGETS))


def test_no_knowledge_costs_the_logarithm_of_the_identities() -> None:
    assert IdentityLoss()(torch.zeros(4, 751), TARGETS).item() == pytest.approx(math.log(751), rel=1e-6)


def test_precision_and_batch() -> None:
    assert_precise(lambda z: identity_loss(z, TARGETS), random(4, 3, scale=30))
    assert_batch_mean(identity_loss, random(4, 3), TARGETS)


def test_extreme_logits_stay_finite() -> None:
    logits = random(4, 3, scale=1e4).float().requires_grad_()
    value = identity_loss(logits, TARGETS)
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_errors() -> None:
    assert_rejects(IdentityLoss, "smoothing", [-0.1, 1.0, None, *NOT_NUMBERS])
