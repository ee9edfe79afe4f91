"""DMLI: equal to a dynamic program in float64, in all its forms; realigning the nearest only."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.align import local_distance
from kd_yolo.reid.evaluation.realign import realign_top
from kd_yolo.reid.evaluation.top import nearest_items
from kd_yolo.reid.losses.local import aligned_distance


def stripes(count: int, height: int = 8, size: int = 5, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, height, size))
    return (scale * rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def cells(x_hd: np.ndarray, y_hd: np.ndarray) -> np.ndarray:
    difference = x_hd.astype(np.float64)[:, None] - y_hd.astype(np.float64)
    return np.tanh(np.sqrt((difference**2).sum(-1)) / 2)


def naive(x_hd: np.ndarray, y_hd: np.ndarray) -> float:
    cost = cells(x_hd, y_hd)
    best = np.full((len(cost) + 1, len(cost) + 1), np.inf)
    best[0, 1] = 0
    for i, j in itertools.product(range(len(cost)), repeat=2):
        best[i + 1, j + 1] = min(best[i, j + 1], best[i + 1, j]) + cost[i, j]
    return float(best[-1, -1])


def naive_all(x_nhd: np.ndarray, y_mhd: np.ndarray) -> np.ndarray:
    return np.array([[naive(x, y) for y in y_mhd] for x in x_nhd])


@pytest.mark.parametrize("height", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("scale", [1.0, 0.1, 30.0])
def test_equals_a_dynamic_program(height: int, scale: float) -> None:
    x_nhd, y_mhd = stripes(18, height, scale=scale), stripes(5, height, seed=1, scale=scale)
    expected = naive_all(x_nhd, y_mhd)
    np.testing.assert_allclose(local_distance(x_nhd, y_mhd), expected, atol=2e-5)
    paired = aligned_distance(torch.from_numpy(x_nhd[:5]), torch.from_numpy(y_mhd))
    np.testing.assert_allclose(paired.numpy(), np.diag(expected[:5]), atol=1e-5)


def test_the_path_is_the_cheapest_of_all() -> None:
    """Every monotone path of four stripes, one by one."""
    x_nhd, y_mhd = stripes(1, 4), stripes(1, 4, seed=1)
    cost = cells(x_nhd[0], y_mhd[0])
    lengths = []
    for downs in itertools.combinations(range(6), 3):
        i = j = 0
        length = cost[0, 0]
        for step in range(6):
            i, j = (i + 1, j) if step in downs else (i, j + 1)
            length += cost[i, j]
        lengths.append(length)
    assert local_distance(x_nhd, y_mhd)[0, 0] == pytest.approx(min(lengths), abs=1e-5)


def test_many_pairs_in_blocks() -> None:
    x_nhd, y_mhd = stripes(35, 2, 3), stripes(530, 2, 3, seed=1)
    whole = local_distance(x_nhd, torch.from_numpy(y_mhd))
    assert (whole.shape, whole.dtype) == ((35, 530), np.float32)
    for n, m in ((0, 0), (17, 511), (17, 512), (34, 529)):
        assert whole[n, m] == pytest.approx(naive(x_nhd[n], y_mhd[m]), abs=1e-5)


def test_ranges_of_unit_stripes() -> None:
    x_nhd = np.repeat(stripes(1, 1), 8, 1)
    farthest, farthest_plain = (float(local_distance(x_nhd, -x_nhd, aligned=way)[0, 0]) for way in (True, False))
    assert farthest == pytest.approx(15 * math.tanh(1), abs=1e-5)
    assert farthest_plain == pytest.approx(8 * math.tanh(1), abs=1e-5)
    assert local_distance(x_nhd, x_nhd)[0, 0] < 5e-3


def test_not_aligned_is_the_sum_over_matched_stripes() -> None:
    x_nhd, y_mhd = stripes(4), stripes(3, seed=1)
    expected = [[np.trace(cells(x, y)) for y in y_mhd] for x in x_nhd]
    np.testing.assert_allclose(local_distance(x_nhd, y_mhd, aligned=False), expected, atol=1e-5)


def test_a_person_moved_down_by_a_stripe_is_near_only_when_aligned() -> None:
    x_nhd = stripes(1, 8, 64)
    moved = np.roll(x_nhd, 1, axis=1)
    other = stripes(1, 8, 64, seed=1)
    assert local_distance(x_nhd, moved)[0, 0] < 0.8 * local_distance(x_nhd, other)[0, 0]
    plain = local_distance(x_nhd, moved, aligned=False)[0, 0] / local_distance(x_nhd, other, aligned=False)[0, 0]
    assert plain == pytest.approx(1, abs=0.1)


def test_symmetric_and_the_same_upside_down() -> None:
    x_nhd, y_mhd = stripes(4), stripes(5, seed=1)
    np.testing.assert_allclose(local_distance(x_nhd, y_mhd), local_distance(y_mhd, x_nhd).T, atol=1e-5)
    flipped = local_distance(x_nhd[:, ::-1], y_mhd[:, ::-1])
    np.testing.assert_allclose(flipped, local_distance(x_nhd, y_mhd), atol=1e-5)


def test_paired_has_the_right_gradient_on_both_sides() -> None:
    x_bhd, y_bhd = (torch.from_numpy(stripes(3, 4, seed=seed)).double().requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(aligned_distance, (x_bhd, y_bhd))


def test_paired_of_equal_stripes_is_0_with_a_finite_gradient() -> None:
    x_bhd = torch.from_numpy(np.repeat(stripes(2, 1), 8, 1)).requires_grad_()
    distance_b = aligned_distance(x_bhd, x_bhd.detach())
    distance_b.sum().backward()
    assert distance_b.detach().abs().max() == 0
    assert x_bhd.grad is not None
    assert x_bhd.grad.isfinite().all()


@pytest.mark.parametrize(("num_gallery", "num_items"), [(2000, 100), (40, 3), (40, 40), (600, 1)])
@pytest.mark.parametrize("levels", [4, 10**6])
def test_nearest_items_are_those_of_a_stable_sort(num_gallery: int, num_items: int, levels: int) -> None:
    dist_bg = np.random.default_rng(0).integers(0, levels, (9, num_gallery)).astype(np.float32)
    expected = np.sort(np.argsort(dist_bg, axis=1, kind="stable")[:, :num_items], axis=1)
    np.testing.assert_array_equal(nearest_items(dist_bg, num_items), expected)


def test_nearest_items_all_in_one_chunk() -> None:
    """Other chunks hold nothing near, so the limit that the minima give is far above what is chosen."""
    dist_bg = np.ones((1, 5120), np.float32)
    dist_bg[0, 640:704] = np.linspace(0.5, 0, 64)
    assert nearest_items(dist_bg, 20).tolist() == [list(range(684, 704))]


def test_realigning_joins_the_nearest_and_keeps_the_rest_behind() -> None:
    x_qhd, y_ghd = stripes(270, 8, 3), stripes(50, 8, 3, seed=1)
    global_qg = np.random.default_rng(0).random((270, 50), np.float32)
    joined_qg = realign_top(global_qg.copy(), x_qhd, y_ghd, num_items=7, weight=0.5)
    local_qg = local_distance(x_qhd, y_ghd)
    order = np.argsort(global_qg, axis=1, kind="stable")
    near, far = order[:, :7], order[:, 7:]
    both = global_qg + 0.5 * local_qg
    sums = np.take_along_axis(both, near, 1) - 0.5 * 15
    np.testing.assert_allclose(np.take_along_axis(joined_qg, near, 1), sums, atol=1e-4)
    np.testing.assert_array_equal(np.argsort(joined_qg, axis=1, kind="stable")[:, 7:], far)
    np.testing.assert_array_equal(np.take_along_axis(joined_qg, far, 1), np.take_along_axis(global_qg, far, 1))


def test_realigning_all_and_nothing() -> None:
    x_qhd, y_ghd = stripes(3, 3), stripes(4, 3, seed=1)
    global_qg = np.random.default_rng(0).random((3, 4), np.float32)
    joined_qg = global_qg.copy()
    assert realign_top(joined_qg, x_qhd, torch.from_numpy(y_ghd)) is joined_qg  # 100 are more than there are
    np.testing.assert_allclose(joined_qg, global_qg + local_distance(x_qhd, y_ghd) - 5, atol=1e-4)
    np.testing.assert_array_equal(realign_top(global_qg.copy(), x_qhd, y_ghd, weight=0), global_qg)
    assert realign_top(np.empty((3, 0), np.float32), x_qhd, y_ghd[:0]).shape == (3, 0)


def test_errors_say_what_is_wrong() -> None:
    x_nhd = stripes(2)
    with pytest.raises(InputError, match=r"query stripes have shape \(2, 8\), expected \(N,H,d\)"):
        local_distance(x_nhd[..., 0], x_nhd)
    with pytest.raises(InputError, match="8 stripes of 5 values, the gallery 7 of 5"):
        local_distance(x_nhd, x_nhd[:, 1:])
    bad = x_nhd.copy()
    bad[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="1 of 2 gallery embeddings hold NaN"):
        local_distance(x_nhd, bad)
    dist_qg = np.zeros((2, 2), np.float32)
    with pytest.raises(ConfigError, match=r"num_items=0, weight=1\.0"):
        realign_top(dist_qg, x_nhd, x_nhd, num_items=0)
    with pytest.raises(InputError, match="must be a contiguous float32 array"):
        realign_top(dist_qg.astype(np.float64), x_nhd, x_nhd)
    with pytest.raises(InputError, match=r"distances have shape \(1, 2\), expected \(2, 2\)"):
        realign_top(dist_qg[:1], x_nhd, x_nhd)
    dist_qg[1, 0] = np.nan  # a single one
    with pytest.raises(InputError, match="distances hold NaN"):
        realign_top(dist_qg, x_nhd, x_nhd)
