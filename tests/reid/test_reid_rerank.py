"""k-reciprocal re-ranking: equal to a dense transcription of the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation import neighbours
from kd_yolo.reid.evaluation.rerank import rerank


def naive(q_nd: np.ndarray, g_nd: np.ndarray, k1: int, k2: int, lambda_value: float) -> np.ndarray:
    features = np.concatenate([q_nd, g_nd]).astype(np.float64)
    total = len(features)
    square = ((features[:, None] - features) ** 2).sum(-1)
    original = (square / square.max(0)).T
    ranking = np.argsort(original, axis=1, kind="stable")

    def reciprocal(item: int, k: int) -> list[int]:
        near = ranking[item, : k + 1]
        return near[(ranking[near, : k + 1] == item).any(1)].tolist()

    weights = np.zeros((total, total))
    for item in range(total):
        core = reciprocal(item, k1)
        expanded = set(core)
        for other in core:
            candidates = reciprocal(other, int(np.around(k1 / 2)))
            if len(set(candidates) & set(core)) > 2 / 3 * len(candidates):
                expanded |= set(candidates)
        members = sorted(expanded)
        raw = np.exp(-original[item, members])
        weights[item, members] = raw / raw.sum()
    if k2 != 1:
        weights = np.stack([weights[ranking[item, :k2]].mean(0) for item in range(total)])
    jaccard = np.zeros((len(q_nd), total))
    for item in range(len(q_nd)):
        shared = np.minimum(weights[item], weights).sum(1)
        jaccard[item] = 1 - shared / (2 - shared)
    final = jaccard * (1 - lambda_value) + original[: len(q_nd)] * lambda_value
    return final[:, len(q_nd) :]


def clustered(num_ids: int, num_each: int, size: int = 16, seed: int = 0) -> np.ndarray:
    """Unit rows around random centres."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((num_ids, size)), num_each, 0)
    rows += 0.8 * rng.standard_normal(rows.shape)
    rows = rows[rng.permutation(len(rows))]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"),
    [(20, 6, 0.3), (1, 1, 0.3), (5, 1, 0.0), (7, 3, 0.1), (4, 9, 0.5), (3, 2, 1.0), (25, 6, 0.3), (1000, 500, 0.3)],
)
@pytest.mark.parametrize(("num_queries", "num_each", "seed"), [(15, 8, 0), (1, 5, 1), (40, 7, 2)])
def test_equals_the_definition(
    k1: int, k2: int, lambda_value: float, num_queries: int, num_each: int, seed: int
) -> None:
    rows = clustered(10, num_each, seed=seed)
    q_nd, g_nd = rows[:num_queries], rows[num_queries:]
    result = rerank(q_nd, g_nd, k1, k2, lambda_value)
    assert (result.shape, result.dtype) == ((len(q_nd), len(g_nd)), np.float32)
    np.testing.assert_allclose(result, naive(q_nd, g_nd, k1, k2, lambda_value), atol=1e-5)


@pytest.mark.parametrize("tile", [1, 7, 16, 64])
@pytest.mark.parametrize("num_queries", [1, 7, 20, 59])
def test_any_tiling_gives_the_same(monkeypatch: pytest.MonkeyPatch, tile: int, num_queries: int) -> None:
    rows = clustered(10, 6)
    expected = rerank(rows[:num_queries], rows[num_queries:])
    monkeypatch.setattr(neighbours, "_TILE", tile)
    np.testing.assert_allclose(rerank(rows[:num_queries], rows[num_queries:]), expected, atol=1e-6)


def test_neighbours_are_those_of_a_stable_sort() -> None:
    """Points on a small grid: most distances occur many times over, and are exact in float32."""
    points = np.random.default_rng(0).integers(0, 3, (90, 3)).astype(np.float32)
    square_qg = np.empty((30, 60), np.float32)
    found = neighbours.find_neighbours(points, 12, square_qg)
    square = ((points[:, None] - points) ** 2).sum(-1)
    order = np.argsort(square, axis=1, kind="stable")[:, :12]
    np.testing.assert_array_equal(found.square_nk, np.take_along_axis(square, order, 1))
    np.testing.assert_array_equal(found.farthest_n, square.max(1))
    np.testing.assert_array_equal(square_qg, square[:30, 30:])
    for item, expected in enumerate(order):
        nearest = found.nearest_nk[item]
        np.testing.assert_array_equal(nearest, sorted(nearest, key=lambda other: (square[item, other], other)))
        worst = square[item, expected[-1]]
        inner = square[item, expected] < worst
        np.testing.assert_array_equal(nearest[inner], expected[inner])
    np.testing.assert_array_equal(found.nearest_nk, order)


def test_two_items_and_equal_items() -> None:
    rows = clustered(2, 1)
    np.testing.assert_allclose(rerank(rows[:1], rows[1:]), naive(rows[:1], rows[1:], 20, 6, 0.3), atol=1e-6)
    same = rerank(np.ones((2, 3)), np.ones((4, 3)))  # everything is everybody's neighbour, at distance 0
    np.testing.assert_allclose(same, 0, atol=1e-6)


def test_more_equal_items_than_neighbours() -> None:
    """Thirty copies of one row: most are not among the k1 nearest even of themselves."""
    result = rerank(np.ones((10, 4)), np.concatenate([np.ones((20, 4)), -np.ones((5, 4))]), k1=4, k2=2)
    assert np.isfinite(result).all()
    assert result[:, :20].max() <= result[:, 20:].min()


def test_scale_and_shift_do_not_matter() -> None:
    rows = clustered(8, 6)
    expected = rerank(rows[:10], rows[10:])
    moved = torch.from_numpy(rows * 50 + 30)
    np.testing.assert_allclose(rerank(moved[:10], moved[10:]), expected, atol=1e-4)


def test_inputs_are_left_as_they_were() -> None:
    rows = clustered(5, 5)
    before = rows.copy()
    rerank(rows[:5], rows[5:])
    np.testing.assert_array_equal(rows, before)


def test_errors_say_what_is_wrong() -> None:
    rows = clustered(3, 3)
    with pytest.raises(ConfigError, match=r"k1=0, k2=6, lambda=0.3: expected"):
        rerank(rows, rows, k1=0)
    with pytest.raises(ConfigError, match=r"lambda=1.5"):
        rerank(rows, rows, lambda_value=1.5)
    with pytest.raises(InputError, match="0 queries, 9 gallery items"):
        rerank(rows[:0], rows)
    with pytest.raises(InputError, match="16 values and gallery embeddings 3"):
        rerank(rows, rows[:, :3])
    rows[1, 2] = np.nan
    with pytest.raises(InputError, match="1 of 9 query embeddings hold NaN"):
        rerank(rows, rows)
