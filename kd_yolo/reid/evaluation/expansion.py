"""Query expansion: a query is replaced by the mean of itself and what it finds first."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.evaluation.distance import Floats, as_embeddings, check_same_size, distance_blocks, unit_rows
from kd_yolo.reid.evaluation.top import nearest_items


def average_query_expansion(q_nd: Any, g_nd: Any, num_items: int = 5, *, alpha: float = 0.0) -> Floats:
    """Queries averaged with their nearest gallery items by cosine.

    It helps when most of the nearest items are right, and hurts when they are not. It uses the gallery, so figures
    with and without it must not be compared; nothing in this package turns it on by itself.

    Args:
        q_nd: query embeddings (Nq,D), numpy or torch; brought to unit length first.
        g_nd: gallery embeddings (Ng,D), likewise.
        num_items: gallery items averaged with each query; more than Ng are as many as Ng, 0 leaves the queries.
        alpha: item weights are ``max(cosine, 0) ** alpha``: 0 is the plain mean, larger values trust the nearest more.

    Returns:
        (Nq,D) float32, unit rows.

    Raises:
        InputError: NaN embeddings, or different D.
        ConfigError: ``num_items`` or ``alpha`` below 0.

    References:
        Chum et al., "Total Recall", ICCV 2007 (average query expansion); Radenovic et al., "Fine-tuning CNN Image
        Retrieval with No Human Annotation", TPAMI 2019, arXiv 1711.02512 (alpha).
    """
    if num_items < 0 or alpha < 0:
        raise ConfigError(f"num_items={num_items}, alpha={alpha}: expected 0 or more for both.")
    (queries_nd, q_square_n), (gallery_nd, g_square_n) = as_embeddings(q_nd, "query"), as_embeddings(g_nd, "gallery")
    check_same_size(queries_nd, gallery_nd)
    queries_nd, gallery_nd = unit_rows(queries_nd, q_square_n), unit_rows(gallery_nd, g_square_n)
    num_items = min(num_items, len(gallery_nd))
    if num_items == 0:
        return queries_nd
    mean_nd = queries_nd.copy()
    for start, dist_bg in distance_blocks(queries_nd, gallery_nd):
        near_bm = nearest_items(dist_bg, num_items)
        cosine_bm = np.maximum(1 - np.take_along_axis(dist_bg, near_bm, 1), 0)
        for row, (items_m, weight_m) in enumerate(zip(near_bm, cosine_bm**alpha, strict=True), start):
            mean_nd[row] += weight_m @ gallery_nd[items_m]
    return unit_rows(mean_nd, np.einsum("nd,nd->n", mean_nd, mean_nd))
