"""The nearest gallery items of a query as a set: cheaper than sorting, and than partitioning the whole row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.reid.evaluation.compiled import compiled
from kd_yolo.reid.evaluation.distance import Floats

Indices = npt.NDArray[np.int64]
_MAX_CHUNK = 64
_CHUNKS_AN_ITEM = 3


def nearest_items(dist_bg: Floats, num_items: int) -> Indices:
    """The nearest items of each query.

    A row is cut into chunks. At least k items lie below the k-th smallest of the chunks' minima, so only chunks with
    such a minimum are looked at.

    Args:
        dist_bg: distances (B,G), rows contiguous.
        num_items: k, 1..G.

    Returns:
        (B,k) gallery indices in ascending order; of equally near items those with the smaller indices.

    Raises:
        InputError: NaN among the distances.
    """
    chunk = min(max(dist_bg.shape[1] // (_CHUNKS_AN_ITEM * num_items), 1), _MAX_CHUNK)
    lowest_bc = np.empty((len(dist_bg), -(-dist_bg.shape[1] // chunk)), np.float32)
    near_bk = np.empty((len(dist_bg), num_items), np.int64)
    if not _find_minima(dist_bg, chunk, lowest_bc):
        raise InputError("distances hold NaN: check the embeddings that they were made from.")
    limit_b = np.partition(lowest_bc, num_items - 1, axis=1)[:, num_items - 1]
    _choose(dist_bg, (lowest_bc, limit_b), chunk, near_bk)
    return near_bk


@compiled()
def _find_minima(dist_bg: Floats, chunk: int, lowest_bc: Floats) -> bool:
    """Writes the smallest distance of each chunk; False if there are NaN."""
    for query in range(lowest_bc.shape[0]):
        if _num_nan(dist_bg[query]) > 0:
            return False
        for c in range(lowest_bc.shape[1]):
            lowest_bc[query, c] = _minimum(dist_bg[query, c * chunk : (c + 1) * chunk])
    return True


@compiled()
def _choose(dist_bg: Floats, limits: tuple[Floats, Floats], chunk: int, near_bk: Indices) -> None:
    """Writes the nearest items; ``limits`` are the minima of the chunks and the largest distance to look at."""
    lowest_bc, limit_b = limits
    item_g = np.empty(dist_bg.shape[1] + 1, np.int64)
    for query in range(dist_bg.shape[0]):
        row_g, limit = dist_bg[query], limit_b[query]
        count = 0
        for c in range(lowest_bc.shape[1]):
            if lowest_bc[query, c] <= limit:
                for item in range(c * chunk, min((c + 1) * chunk, row_g.size)):
                    item_g[count] = item
                    count += row_g[item] <= limit
        _keep_nearest(row_g, item_g[:count], near_bk[query])


@compiled()
def _keep_nearest(row_g: Floats, item_c: Indices, near_k: Indices) -> None:
    """Of some items, in ascending order, the nearest."""
    value_c = row_g[item_c]
    last = np.partition(value_c, near_k.size - 1)[near_k.size - 1]
    num_tied = near_k.size - (value_c < last).sum()
    place = 0
    for c in range(item_c.size):
        is_tied = value_c[c] == last
        if value_c[c] < last or (is_tied and num_tied > 0):
            near_k[place] = item_c[c]
            place += 1
            num_tied -= is_tied


@compiled(reorder_sums=True)
def _num_nan(values: Floats) -> np.float32:
    count: np.float32 = np.float32(0)
    for n in range(values.size):
        count += np.float32(0) if values[n] == values[n] else np.float32(1)
    return count


@compiled(reorder_sums=True, no_nan=True)
def _minimum(values: Floats) -> np.float32:
    lowest: np.float32 = values[0]
    for n in range(values.size):
        lowest = min(lowest, values[n])
    return lowest
