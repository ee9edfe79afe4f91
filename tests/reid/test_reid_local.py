"""Local triplet: the aligned distance against a naive program, and pairs that come from the global feature."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.reid.losses.local import LocalTripletLoss, aligned_distance, local_triplet
from kd_yolo.reid.losses.triplet import Triplets

from .loss_helpers import NOT_NUMBERS, assert_precise, assert_rejects, random

TRIPLETS = Triplets(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 3]), torch.tensor([2, 3, 0]))


def stripes(count: int, seed: int = 0, rows: int = 8) -> Tensor:
    return F.normalize(random(count, rows, 6, seed=seed), dim=-1)


def naive(x: Tensor, y: Tensor) -> float:
    """Minimum over all monotone paths, each as the places where it steps down."""
    size = len(x)
    cost = [[math.tanh(math.dist(a, b) / 2) for b in y.tolist()] for a in x.tolist()]
    best = math.inf
    for downs in itertools.combinations(range(2 * size - 2), size - 1):
        i = j = 0
        total = cost[0][0]
        for step in range(2 * size - 2):
            i, j = (i + 1, j) if step in downs else (i, j + 1)
            total += cost[i][j]
        best = min(best, total)
    return best


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_distance_is_the_cheapest_of_all_paths(rows: int) -> None:
    x, y = stripes(3, 1, rows), stripes(3, 2, rows)
    for value, a, b in zip(aligned_distance(x, y).tolist(), x, y, strict=True):
        assert value == pytest.approx(naive(a, b), rel=1e-9)


def test_distance_limits() -> None:
    x, y = stripes(3, 1), stripes(3, 2)
    assert torch.allclose(aligned_distance(x, y), aligned_distance(y, x))
    assert aligned_distance(x[:1], -x[:1]).item() <= 15 * math.tanh(1)
    constant = x[:, :1].expand(3, 8, 6)
    assert torch.equal(aligned_distance(constant, constant), torch.zeros(3, dtype=torch.float64))
    far = aligned_distance(constant, -constant)
    assert torch.allclose(far, torch.full((3,), 15 * math.tanh(1), dtype=torch.float64))


@pytest.mark.parametrize("margin", [0.3, None])
def test_loss_is_of_the_given_triplets(margin: float | None) -> None:
    local = stripes(4)
    losses = []
    for a, p, n in zip(*(x.tolist() for x in TRIPLETS), strict=True):
        gap = naive(local[a], local[p]) - naive(local[a], local[n])
        losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    assert LocalTripletLoss(margin)(local, TRIPLETS).item() == pytest.approx(sum(losses) / 3, rel=1e-9)


def test_gradient_is_that_of_the_number_returned_and_finite_at_equal_stripes() -> None:
    local = random(4, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: local_triplet(x, TRIPLETS, margin=5.0), local, fast_mode=True)
    same = torch.ones(4, 8, 3, requires_grad=True)
    local_triplet(same, TRIPLETS).backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_precision_and_default_margin() -> None:
    assert_precise(lambda x: local_triplet(x, TRIPLETS), stripes(4))
    assert_precise(aligned_distance, stripes(4, 1), stripes(4, 2))
    local = stripes(4)
    assert torch.equal(LocalTripletLoss()(local, TRIPLETS), local_triplet(local, TRIPLETS, margin=0.3))


def test_errors() -> None:
    assert_rejects(LocalTripletLoss, "margin", [-0.1, *NOT_NUMBERS])
