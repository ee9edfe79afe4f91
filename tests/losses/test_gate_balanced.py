"""The balanced gate against a loop over anchors."""

from __future__ import annotations

import math

import pytest
import torch

from kd_yolo.losses.gate import RAREST, balanced_confidence


def naive(logits: torch.Tensor) -> list[list[float]]:
    scores = [[[1 / (1 + math.exp(-z)) for z in row] for row in image.T.tolist()] for image in logits]
    top = [[max((s, -k) for k, s in enumerate(anchor)) for anchor in image] for image in scores]
    mass: dict[int, float] = {}
    for image in top:
        for s, k in image:
            mass[k] = mass.get(k, 0.0) + s * s
    mean = sum(mass.values()) / len(mass)
    return [[s * min(mean / mass[k], RAREST) for s, k in image] for image in top]


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_equals_the_loop(classes: int) -> None:
    logits = torch.randn(3, classes, 11, generator=torch.Generator().manual_seed(classes)) * 3
    assert torch.allclose(balanced_confidence(logits), torch.tensor(naive(logits)), rtol=1e-5)


def test_one_class_is_its_confidence() -> None:
    logits = torch.randn(2, 1, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(balanced_confidence(logits), logits.sigmoid()[:, 0])


def test_classes_count_alike_until_the_limit() -> None:
    logits = torch.full((1, 2, 12), -20.0)
    logits[0, 0, :9], logits[0, 1, 9:] = 20.0, 20.0
    weights = balanced_confidence(logits)[0]
    assert weights[:9].sum().item() == pytest.approx(weights[9:].sum().item())
    many = torch.full((1, 2, 1001), -20.0)
    many[0, 0, :1000], many[0, 1, 1000] = 20.0, 20.0
    assert balanced_confidence(many)[0, 1000].item() == pytest.approx(RAREST)


def test_extremes_are_finite_and_have_no_gradient() -> None:
    logits = torch.tensor([[[60.0, -60.0], [-60.0, -60.0]]]).requires_grad_()
    weights = balanced_confidence(logits)
    assert torch.isfinite(weights).all()
    assert not weights.requires_grad
    assert torch.isfinite(balanced_confidence(torch.full((1, 2, 3), -200.0))).all()
