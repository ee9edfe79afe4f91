"""Batch-hard triplet loss: a naive loop, pytorch-metric-learning, limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.triplet import TripletLoss, batch_hard_triplet, mine_hardest

from .loss_helpers import NOT_NUMBERS, assert_precise, assert_rejects, random

TARGETS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])  # the last one has no positive


def naive(features: Tensor, targets: Tensor, margin: float | None) -> float:
    rows, ids = features.tolist(), targets.tolist()
    losses = []
    for a in range(len(rows)):
        positives = [math.dist(rows[a], rows[j]) for j in range(len(rows)) if j != a and ids[j] == ids[a]]
        negatives = [math.dist(rows[a], rows[j]) for j in range(len(rows)) if ids[j] != ids[a]]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    return sum(losses) / len(losses)


@settings(deadline=None, max_examples=25, derandomize=True, database=None)
@given(
    targets=st.lists(st.integers(0, 3), min_size=4, max_size=12).filter(
        lambda ids: len(set(ids)) > 1 and len(set(ids)) < len(ids)
    ),
    margin=st.one_of(st.none(), st.floats(0, 2)),
    seed=st.integers(0, 99),
)
def test_formula(targets: list[int], margin: float | None, seed: int) -> None:
    features, targets_n = random(len(targets), 5, seed=seed), torch.tensor(targets)
    expected = naive(features, targets_n, margin)
    assert TripletLoss(margin)(features, targets_n).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("margin", [0.3, 5.0, None])
def test_equals_pytorch_metric_learning(margin: float | None) -> None:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False)
    other = TripletMarginLoss(
        margin=margin or 0.0, smooth_loss=margin is None, distance=distance, reducer=MeanReducer()
    )
    miner = BatchHardMiner(distance=distance)
    ours, theirs = (random(8, 16, seed=3).requires_grad_() for _ in range(2))
    expected = other(theirs, TARGETS, miner(theirs, TARGETS))
    value = batch_hard_triplet(ours, TARGETS, margin=margin)
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)
    value.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-7, atol=1e-12)


def test_default_margin_is_0_3() -> None:
    features = random(8, 4)
    assert TripletLoss()(features, TARGETS).item() == pytest.approx(naive(features, TARGETS, 0.3), rel=1e-9)


def test_features_are_not_normalised() -> None:
    features = random(8, 4)
    assert batch_hard_triplet(10 * features, TARGETS, margin=0.0).item() == pytest.approx(
        10 * batch_hard_triplet(features, TARGETS, margin=0.0).item(), rel=1e-9
    )


def test_far_apart_is_zero_and_soft_margin_of_equal_distances_is_log_2() -> None:
    features = torch.tensor([[0.0], [0.1], [100.0], [100.1]], requires_grad=True)
    value = batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert value.item() == 0
    equal = batch_hard_triplet(torch.zeros(4, 2, requires_grad=True), torch.tensor([0, 0, 1, 1]), margin=None)
    assert equal.item() == pytest.approx(math.log(2))


def test_equal_images_have_a_finite_gradient() -> None:
    features = torch.zeros(4, 3, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1])).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_gradient_is_that_of_the_number_returned() -> None:
    features = random(8, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet(x, TARGETS, margin=2.0), features, fast_mode=True)


def test_a_doubled_batch_only_mines_the_same_hardest_images() -> None:
    features, targets = random(7, 5), TARGETS[:7]
    once = batch_hard_triplet(features, targets).item()
    assert batch_hard_triplet(features.repeat(2, 1), targets.repeat(2)).item() == pytest.approx(once, rel=1e-9)


def test_precision() -> None:
    assert_precise(lambda x: batch_hard_triplet(x, TARGETS, margin=None), random(8, 64, scale=20))


def test_given_triplets_are_used() -> None:
    features = random(8, 5)
    triplets = mine_hardest(features, TARGETS)
    assert triplets.anchors_m.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (TARGETS[triplets.positives_m] == TARGETS[triplets.anchors_m]).all()
    assert (TARGETS[triplets.negatives_m] != TARGETS[triplets.anchors_m]).all()
    other = random(8, 5, seed=9)
    expected = [
        max(0.0, math.dist(other[a].tolist(), other[p].tolist()) - math.dist(other[a].tolist(), other[n].tolist()) + 1)
        for a, p, n in zip(*(x.tolist() for x in triplets), strict=True)
    ]
    value = TripletLoss(1.0)(other, TARGETS, triplets).item()
    assert value == pytest.approx(sum(expected) / len(expected), rel=1e-9)


def test_errors() -> None:
    assert_rejects(TripletLoss, "margin", [-0.1, *NOT_NUMBERS])
    for targets in ([0, 0, 0, 0], [0, 1, 2, 3]):
        with pytest.raises(
            ConfigError, match=r"batch of 4 images has none with both.*at least train.ids=2 and train.im"
        ):
            batch_hard_triplet(random(4, 2), torch.tensor(targets))
