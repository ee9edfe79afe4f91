"""Pairwise circle loss: a naive loop, pytorch-metric-learning, limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.circle import CircleLoss, circle_loss

from .loss_helpers import NOT_NUMBERS, assert_precise, assert_rejects, random

TARGETS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])  # the last one has no positive


def naive(features: Tensor, targets: Tensor, margin: float, gamma: float) -> float:
    rows, ids = features.tolist(), targets.tolist()
    losses = []
    for a in range(len(rows)):
        near, far = 0.0, 0.0
        for j in range(len(rows)):
            s = sum(x * y for x, y in zip(rows[a], rows[j], strict=True)) / math.hypot(*rows[a]) / math.hypot(*rows[j])
            if j != a and ids[j] == ids[a]:
                near += math.exp(-gamma * max(0.0, 1 + margin - s) * (s - 1 + margin))
            if ids[j] != ids[a]:
                far += math.exp(gamma * max(0.0, s + margin) * (s - margin))
        if near and far:
            losses.append(math.log1p(near * far))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 128.0), (0.4, 8.0), (0.0, 1.0)])
def test_formula(margin: float, gamma: float) -> None:
    features = random(8, 6)
    expected = naive(features, TARGETS, margin, gamma)
    assert CircleLoss(margin, gamma)(features, TARGETS).item() == pytest.approx(expected, rel=1e-9)


def test_equals_pytorch_metric_learning() -> None:
    from pytorch_metric_learning.losses import CircleLoss as Other
    from pytorch_metric_learning.reducers import MeanReducer

    ours, theirs = (random(7, 6, seed=2).requires_grad_() for _ in range(2))
    expected = Other(m=0.25, gamma=128, reducer=MeanReducer())(theirs, TARGETS[:7])
    value = CircleLoss()(ours, TARGETS[:7])
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)


def test_weights_carry_no_gradient() -> None:
    """One pair of each kind: dL/ds_n = sigmoid(z) gamma a_n, with nothing from a_n itself."""
    features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, -0.8]], dtype=torch.float64, requires_grad=True)
    circle_loss(features, torch.tensor([0, 0, 1]), margin=0.25, gamma=4.0).backward()
    assert features.grad is not None

    def fixed(x: Tensor, weights: list[tuple[float, float]]) -> Tensor:
        unit = x / x.norm(dim=1, keepdim=True)
        values = []
        for (a, p), (w_p, w_n) in zip(((0, 1), (1, 0)), weights, strict=True):
            s_p, s_n = unit[a] @ unit[p], unit[a] @ unit[2]
            values.append(torch.log1p(torch.exp(4 * w_n * (s_n - 0.25) - 4 * w_p * (s_p - 0.75))))
        return torch.stack(values).mean()

    same = features.detach().clone().requires_grad_()
    s_p, s_n = 0.8, (0.6, 0.8 * 0.6 - 0.6 * 0.8)
    fixed(same, [(1.25 - s_p, s_n[0] + 0.25), (1.25 - s_p, s_n[1] + 0.25)]).backward()
    assert torch.allclose(features.grad, same.grad, rtol=1e-9, atol=1e-12)


def test_length_of_features_does_not_matter_and_separation_is_zero() -> None:
    features = random(8, 6)
    assert circle_loss(7 * features, TARGETS).item() == pytest.approx(circle_loss(features, TARGETS).item(), rel=1e-9)
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    assert circle_loss(apart, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(0, abs=1e-2)


def test_wrong_at_every_pair_is_finite() -> None:
    features = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]], requires_grad=True)
    value = circle_loss(features, torch.tensor([0, 0, 1, 1]), gamma=1e4)
    value.backward()
    assert value.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_precision() -> None:
    assert_precise(lambda x: circle_loss(x, TARGETS), random(8, 64))


def test_order_does_not_matter() -> None:
    features = random(8, 6)
    assert circle_loss(features.flip(0), TARGETS.flip(0)).item() == pytest.approx(
        circle_loss(features, TARGETS).item(), rel=1e-9
    )


def test_errors() -> None:
    assert_rejects(CircleLoss, "margin", [-0.1, None, *NOT_NUMBERS])
    assert_rejects(CircleLoss, "gamma", [0, -1.0, None, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match="has none with both another image of its identity"):
        circle_loss(random(4, 2), torch.arange(4))
