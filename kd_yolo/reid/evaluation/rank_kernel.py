"""The inner loop of ranking: at which place does each hit stand?

Nothing is sorted. The place of a hit is the number of counted items that a stable sort would put before it: nearer
ones, and those equally near with a smaller index. For the few hits of a query, comparing each with the whole row costs
less than sorting the row; many hits share one pass with a binary search an item.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.reid.evaluation.compiled import compiled
from kd_yolo.reid.evaluation.matches import Ints

MAX_ITEMS = 2**24  # of a gallery: the places are counted in float32
_MANY_HITS = 64
_ONE, _ZERO = np.float32(1), np.float32(0)


@compiled()
def hit_places(
    dist_bg: npt.NDArray[Any], hits: tuple[Ints, Ints], drops: tuple[Ints, Ints], junk_m: Ints
) -> tuple[Ints, Ints]:
    """Places of all hits among the items that count.

    Args:
        dist_bg: distances (B,G), float32 or float64.
        hits: indices and starts of the hits, as in :class:`Matches`.
        drops: indices and starts of the items that do not count for a query.
        junk_m: indices of the items that count for none.

    Returns:
        Place (M) of each hit from 0, ascending within a query, and the number of NaN distances of each query (B).
    """
    places_m = np.empty(hits[0].size, np.int64)
    num_nan_b = np.zeros(dist_bg.shape[0], np.int64)
    row_g = np.empty(dist_bg.shape[1], dist_bg.dtype)
    for query in range(dist_bg.shape[0]):
        num_nan_b[query] = _copy(dist_bg[query], row_g)
        row_g[junk_m] = np.nan  # compares false with everything: never before a hit
        row_g[drops[0][drops[1][query] : drops[1][query + 1]]] = np.nan
        start, stop = hits[1][query], hits[1][query + 1]
        if stop - start <= _MANY_HITS:
            for n in range(start, stop):
                places_m[n] = _num_before(row_g, hits[0][n])
        elif stop > start:
            _places_of_many(row_g, hits[0][start:stop], places_m[start:stop])
        places_m[start:stop].sort()
    return places_m, num_nan_b


@compiled(reorder_sums=True)
def _copy(row_g: npt.NDArray[Any], out_g: npt.NDArray[Any]) -> np.float32:
    """Copies a row; returns how many of its values are NaN."""
    count: np.float32 = _ZERO
    for n in range(row_g.size):
        out_g[n] = row_g[n]
        count += _ZERO if row_g[n] == row_g[n] else _ONE
    return count


@compiled(reorder_sums=True)
def _num_before(row_g: npt.NDArray[Any], item: int) -> np.float32:
    """Number of items that a stable sort puts before ``item``."""
    limit = row_g[item]
    head, tail = row_g[:item], row_g[item + 1 :]
    count: np.float32 = _ZERO
    for n in range(head.size):
        count += _ONE if head[n] <= limit else _ZERO
    for n in range(tail.size):
        count += _ONE if tail[n] < limit else _ZERO
    return count


@compiled()
def _places_of_many(row_g: npt.NDArray[Any], hits_m: Ints, places_m: Ints) -> None:
    """The same for many hits at once: items are counted in the gaps between the hits' distances."""
    levels = np.sort(row_g[hits_m])
    in_gap, at_level = np.zeros(levels.size + 1, np.int64), np.zeros(levels.size, np.int64)
    own_level, num_tied = np.empty(hits_m.size, np.int64), np.empty(hits_m.size, np.int64)
    hit = 0
    for item in range(row_g.size):
        level = np.searchsorted(levels, row_g[item])
        if level < levels.size and row_g[item] == levels[level]:
            if hit < hits_m.size and hits_m[hit] == item:
                own_level[hit], num_tied[hit] = level, at_level[level]
                hit += 1
            at_level[level] += 1
        else:
            in_gap[level] += 1
    before = np.cumsum(in_gap[:-1]) + np.cumsum(at_level) - at_level
    for hit in range(hits_m.size):
        places_m[hit] = before[own_level[hit]] + num_tied[hit]
