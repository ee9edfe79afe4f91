"""k-reciprocal re-ranking: two people are near when they have the same mutual neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.extras import require
from kd_yolo.reid.evaluation.distance import Floats, as_embeddings, check_same_size
from kd_yolo.reid.evaluation.neighbours import Neighbours, find_neighbours
from kd_yolo.reid.evaluation.reciprocal import expand, mix_jaccard, mutual, soften

sparse = require("scipy.sparse", purpose="evaluating person re-identification")


def rerank(q_feats: Any, g_feats: Any, k1: int = 20, k2: int = 6, lambda_value: float = 0.3) -> Floats:
    """Re-ranked distances of queries to gallery.

    The original distance O(i,j) is the squared Euclidean distance of all N = Nq + Ng items, in shares of the largest
    one of i. R(i,k) are the mutual neighbours among the nearest k and i itself; R*(i) adds to R(i,k1) each R(q,k1/2),
    q in R(i,k1), of which more than two thirds lie in R(i,k1). V(i,.) is exp(-O(i,.)) over R*(i), divided by its sum,
    then averaged over the k2 nearest of i. With s the sum of the smaller ones of V(i,.) and V(j,.), the Jaccard
    distance is 1 - s / (2 - s), and the result ``(1 - lambda) * Jaccard + lambda * O``.

    Args:
        q_feats: query embeddings (Nq,D), numpy or torch; unit rows where the network is meant to be used with cosine
            distances, as they are not normalised here.
        g_feats: gallery embeddings (Ng,D).
        k1: neighbours that make up the sets; more than N are as many as N.
        k2: neighbours over which V is averaged; 1 is no averaging.
        lambda_value: share of the original distance, 0..1.

    Returns:
        (Nq,Ng) float32. Memory above that: a copy of the embeddings and a few hundred values an item.

    Raises:
        InputError: an empty side, different D, NaN or infinite values.
        ConfigError: k1 or k2 below 1, lambda outside 0..1.

    References:
        Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, arXiv 1701.08398,
        equations 3 to 12.
    """
    if k1 < 1 or k2 < 1 or not 0 <= lambda_value <= 1:
        raise ConfigError(f"k1={k1}, k2={k2}, lambda={lambda_value}: expected k1 and k2 at least 1, lambda in 0..1.")
    (q_nd, _), (g_nd, _) = as_embeddings(q_feats, "query"), as_embeddings(g_feats, "gallery")
    check_same_size(q_nd, g_nd)
    if len(q_nd) == 0 or len(g_nd) == 0:
        raise InputError(f"nothing to re-rank: {len(q_nd)} queries, {len(g_nd)} gallery items. Check the data folder.")
    features_nd = np.concatenate([q_nd, g_nd])
    features_nd -= features_nd.mean(0, dtype=np.float64).astype(np.float32)  # same distances, fewer digits cancelled
    final_qg = np.empty((len(q_nd), len(g_nd)), np.float32)
    near = find_neighbours(features_nd, min(max(k1 + 1, k2), len(features_nd)), final_qg)
    np.maximum(near.farthest_n, np.finfo(np.float32).tiny, out=near.farthest_n)  # all items equal: distances stay 0
    final_qg /= near.farthest_n[: len(q_nd), None]
    encoded_nn = _encode(features_nd, near, k1, k2)
    rows, columns = encoded_nn[: len(q_nd)], encoded_nn[len(q_nd) :].tocsc()
    mix_jaccard(_parts(rows), _parts(columns), lambda_value, final_qg)
    return final_qg


def _encode(features_nd: Floats, near: Neighbours, k1: int, k2: int) -> Any:
    """V after averaging over the k2 nearest, a sparse matrix (N,N)."""
    total, num_known = near.nearest_nk.shape
    half = int(np.around(k1 / 2))  # to the even number, as the authors round
    full_nw = mutual(near.nearest_nk, min(k1 + 1, num_known))
    members, starts = expand(full_nw, mutual(near.nearest_nk, min(half + 1, num_known)))
    weights = soften(features_nd, members, starts, (near.nearest_nk, near.square_nk), near.farthest_n)
    encoded_nn = sparse.csr_array((weights, members, starts), shape=(total, total))
    width = min(k2, total)
    if width == 1:
        return encoded_nn
    mean_nn = sparse.csr_array(
        (
            np.full(total * width, 1 / width, np.float32),
            near.nearest_nk[:, :width].ravel(),
            np.arange(0, total * width + 1, width),
        ),
        shape=(total, total),
    )
    return mean_nn @ encoded_nn


def _parts(matrix: Any) -> tuple[Any, Any, Any]:
    """Starts, indices and values of a compressed sparse matrix, in the types of the kernels."""
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
