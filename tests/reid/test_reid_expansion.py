"""Query expansion: the mean of a query and its nearest items, by a naive loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.expansion import average_query_expansion


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("num_items", "alpha"), [(1, 0.0), (5, 0.0), (5, 3.0), (100, 1.0)])
def test_equals_a_naive_loop(num_items: int, alpha: float) -> None:
    rng = np.random.default_rng(0)
    q_nd, g_nd = rng.standard_normal((300, 6)), rng.standard_normal((40, 6))
    expected = []
    for q in unit(q_nd):
        cosine = unit(g_nd) @ q
        best = np.argsort(-cosine, kind="stable")[:num_items]
        expected.append(q + sum(max(cosine[n], 0) ** alpha * unit(g_nd)[n] for n in best))
    result = average_query_expansion(q_nd, torch.from_numpy(g_nd), num_items, alpha=alpha)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, unit(np.array(expected)), atol=1e-5)


@pytest.mark.parametrize(("num_items", "num_gallery"), [(0, 4), (5, 0)])
def test_without_items_queries_stay(num_items: int, num_gallery: int) -> None:
    rng = np.random.default_rng(0)
    q_nd = rng.standard_normal((3, 4))
    result = average_query_expansion(q_nd, rng.standard_normal((num_gallery, 4)), num_items)
    np.testing.assert_allclose(result, unit(q_nd), atol=1e-6)


def test_a_bad_value_is_told() -> None:
    with pytest.raises(ConfigError, match=r"num_items=-1, alpha=0\.0: expected 0 or more"):
        average_query_expansion(np.ones((1, 2)), np.ones((1, 2)), -1)
    with pytest.raises(InputError, match="1 of 1 gallery embeddings hold NaN"):
        average_query_expansion(np.ones((1, 2)), np.full((1, 2), np.nan))
