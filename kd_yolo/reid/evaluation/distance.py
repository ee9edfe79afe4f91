"""Distances between embeddings in float32, as one matrix or in blocks of queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import first_few

Metric = Literal["cosine", "euclidean", "sqeuclidean"]
Floats = npt.NDArray[np.float32]
BLOCK_QUERIES = 256


def distance_matrix(q_nd: Any, g_nd: Any, metric: Metric = "cosine") -> Floats:
    """Distances of all queries to all gallery items; the result is the only array of that size.

    Args:
        q_nd: query embeddings (Nq,D), numpy or torch, any length of row and any float type.
        g_nd: gallery embeddings (Ng,D).
        metric: ``"cosine"`` is 1 - cosine, 0..2 (a row of zeros has distance 1 to all); ``"euclidean"``;
            ``"sqeuclidean"``, its square. Euclidean distances come from ``|q|^2 + |g|^2 - 2 q.g``: two rows that are
            almost equal may be off by about 3e-4 of their length.

    Returns:
        (Nq,Ng) float32, never below 0.

    Raises:
        InputError: NaN or infinite values, not two axes, or different D.
        ConfigError: unknown metric.
    """
    pair = _prepare(q_nd, g_nd, metric)
    dist_qg = np.empty((len(pair.q_nd), len(pair.g_nd)), np.float32)
    for start in range(0, len(dist_qg), BLOCK_QUERIES):
        pair.write(start, dist_qg[start : start + BLOCK_QUERIES])
    return dist_qg


def distance_blocks(q_nd: Any, g_nd: Any, metric: Metric = "cosine") -> Iterator[tuple[int, Floats]]:
    """The rows of :func:`distance_matrix`, block after block; the whole matrix never exists.

    Args:
        q_nd: query embeddings (Nq,D).
        g_nd: gallery embeddings (Ng,D).
        metric: as in :func:`distance_matrix`.

    Yields:
        Index of the first query, and the distances (B,Ng) of up to 256 queries. The next block overwrites them.

    Raises:
        InputError: see :func:`distance_matrix`.
        ConfigError: see :func:`distance_matrix`.
    """
    pair = _prepare(q_nd, g_nd, metric)
    buffer_bg = np.empty((min(BLOCK_QUERIES, len(pair.q_nd)), len(pair.g_nd)), np.float32)
    for start in range(0, len(pair.q_nd), BLOCK_QUERIES):
        block_bg = buffer_bg[: len(pair.q_nd) - start]
        pair.write(start, block_bg)
        yield start, block_bg


def to_numpy(values: Any) -> npt.NDArray[Any]:
    """An array from a list, an array or a tensor; bfloat16, which numpy lacks, becomes float32."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def as_embeddings(embeddings_nd: Any, side: str) -> tuple[Floats, Floats]:
    """Embeddings as a float32 array, checked.

    Args:
        embeddings_nd: (N,D), numpy or torch.
        side: ``"query"`` or ``"gallery"``, for messages.

    Returns:
        The embeddings (N,D), without a copy where they are float32 already, and the squared length (N) of each.

    Raises:
        InputError: not two axes; NaN, infinite or, squared, too large values.
    """
    array_nd = np.ascontiguousarray(to_numpy(embeddings_nd), np.float32)
    if array_nd.ndim != 2 or array_nd.shape[1] == 0:
        raise InputError(f"{side} embeddings have shape {array_nd.shape}, expected (N,D): one row an image.")
    with np.errstate(over="ignore", invalid="ignore"):
        square_n = np.einsum("nd,nd->n", array_nd, array_nd)
    rows = np.flatnonzero(~np.isfinite(square_n))
    if rows.size:
        raise InputError(
            f"{rows.size} of {len(array_nd)} {side} embeddings hold NaN, infinite or huge values, first rows:"
            f" {first_few(rows)}. Look at these images; if there are many, the"
            " training diverged: take an earlier checkpoint or a lower learning rate."
        )
    return array_nd, square_n


def unit_rows(embeddings_nd: Floats, square_n: Floats) -> Floats:
    """A copy with every row divided by its length; rows of zeros stay."""
    length_n = np.sqrt(square_n)
    length_n[length_n == 0] = 1
    return np.divide(embeddings_nd, length_n[:, None], dtype=np.float32)


def check_same_size(q_nd: Floats, g_nd: Floats) -> None:
    """Raises an InputError when queries and gallery do not have the same number of values a row."""
    if q_nd.shape[1] != g_nd.shape[1]:
        raise InputError(
            f"query embeddings have {q_nd.shape[1]} values and gallery embeddings {g_nd.shape[1]}:"
            " embed both with the same network."
        )


@dataclass(frozen=True)
class _Pair:
    """Queries and gallery, ready for the matrix product.

    Attributes:
        q_nd: queries, unit rows for cosine.
        g_nd: gallery, likewise.
        squares: squared lengths of both, unused for cosine.
        metric: the distance.
    """

    q_nd: Floats
    g_nd: Floats
    squares: tuple[Floats, Floats]
    metric: Metric

    def write(self, start: int, out_bg: Floats) -> None:
        """Writes the distances of the queries from ``start`` on into ``out_bg``."""
        stop = start + len(out_bg)
        np.matmul(self.q_nd[start:stop], self.g_nd.T, out=out_bg)
        if self.metric == "cosine":
            np.subtract(1, out_bg, out=out_bg)
        else:
            out_bg *= -2
            out_bg += self.squares[0][start:stop, None]
            out_bg += self.squares[1]
        np.maximum(out_bg, 0, out=out_bg)
        if self.metric == "euclidean":
            np.sqrt(out_bg, out=out_bg)


def _prepare(q_nd: Any, g_nd: Any, metric: Metric) -> _Pair:
    if metric not in get_args(Metric):
        raise ConfigError(f"unknown metric '{metric}'; known: {', '.join(get_args(Metric))}.")
    (q_nd, q_square_n), (g_nd, g_square_n) = as_embeddings(q_nd, "query"), as_embeddings(g_nd, "gallery")
    check_same_size(q_nd, g_nd)
    if metric == "cosine":
        q_nd, g_nd = unit_rows(q_nd, q_square_n), unit_rows(g_nd, g_square_n)
    return _Pair(q_nd, g_nd, (q_square_n, g_square_n), metric)
