"""Distances: the formulas in float64, blocks equal to the whole, and bad embeddings told by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.distance import Metric, distance_blocks, distance_matrix


def embeddings(count: int, size: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def naive(q_nd: np.ndarray, g_nd: np.ndarray, metric: str) -> np.ndarray:
    dist = np.zeros((len(q_nd), len(g_nd)))
    for i, q in enumerate(q_nd.astype(np.float64)):
        for j, g in enumerate(g_nd.astype(np.float64)):
            if metric == "cosine":
                dist[i, j] = 1 - q @ g / np.sqrt((q @ q) * (g @ g))
            else:
                dist[i, j] = ((q - g) ** 2).sum() ** (0.5 if metric == "euclidean" else 1)
    return dist


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
@pytest.mark.parametrize(("num_queries", "num_gallery"), [(1, 1), (7, 11), (300, 3)])
def test_formula_and_blocks(metric: Metric, num_queries: int, num_gallery: int) -> None:
    q_nd, g_nd = embeddings(num_queries), embeddings(num_gallery, seed=1)
    dist_qg = distance_matrix(q_nd, g_nd, metric)
    np.testing.assert_allclose(dist_qg, naive(q_nd, g_nd, metric), atol=2e-5)
    assert dist_qg.dtype == np.float32
    blocks = [(start, block.copy()) for start, block in distance_blocks(q_nd, g_nd, metric)]
    assert [start for start, _ in blocks] == list(range(0, num_queries, 256))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), dist_qg)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
def test_equal_rows_are_at_0_and_never_below(metric: Metric) -> None:
    q_nd = embeddings(40, 64)
    dist_qq = distance_matrix(q_nd, q_nd, metric)
    assert dist_qq.min() >= 0
    assert np.diag(dist_qq).max() < (1e-2 if metric == "euclidean" else 1e-4)


def test_cosine_ignores_length_and_puts_zeros_at_1() -> None:
    q_nd, g_nd = embeddings(4), embeddings(6, seed=1)
    scaled = q_nd * np.array([1e-3, 1, 10, 1e3], np.float32)[:, None]
    np.testing.assert_allclose(distance_matrix(scaled, g_nd), distance_matrix(q_nd, g_nd), atol=1e-6)
    assert (distance_matrix(np.zeros((1, 5)), g_nd) == 1).all()


def test_inputs_are_left_as_they_were() -> None:
    q_nd, g_nd = embeddings(4), embeddings(6, seed=1)
    before = q_nd.copy(), g_nd.copy()
    distance_matrix(q_nd, g_nd)
    np.testing.assert_array_equal(q_nd, before[0])
    np.testing.assert_array_equal(g_nd, before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_every_float_type(dtype: torch.dtype) -> None:
    q_nd = torch.from_numpy(embeddings(3)).to(dtype).requires_grad_()
    expected = distance_matrix(q_nd.detach().float().numpy(), embeddings(4, seed=1))
    np.testing.assert_array_equal(distance_matrix(q_nd, torch.from_numpy(embeddings(4, seed=1))), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_bad_rows_are_named(bad: float) -> None:
    g_nd = embeddings(9)
    g_nd[[2, 4, 5, 6, 7, 8], 1] = bad
    with pytest.raises(InputError, match=r"6 of 9 gallery embeddings hold NaN.* first rows: 2, 4, 5, 6, 7 and 1 more"):
        distance_matrix(embeddings(2), g_nd)
    with pytest.raises(InputError, match=r"6 of 9 query embeddings .* rows: 2"):
        next(iter(distance_blocks(g_nd, embeddings(2))))


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(InputError, match="5 values and gallery embeddings 6: embed both with the same network"):
        distance_matrix(embeddings(2), embeddings(2, 6))
    with pytest.raises(InputError, match=r"query embeddings have shape \(5,\), expected \(N,D\)"):
        distance_matrix(embeddings(1)[0], embeddings(2))
    with pytest.raises(ConfigError, match="unknown metric 'l1'; known: cosine, euclidean, sqeuclidean"):
        distance_matrix(embeddings(1), embeddings(2), "l1")  # type: ignore[arg-type]
