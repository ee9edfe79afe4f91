"""The inner loops of the distance between stripes: from products of stripes to the shortest path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.reid.evaluation.compiled import compiled
from kd_yolo.reid.evaluation.distance import Floats

_CHUNK = 128  # gallery items; 0.5 MiB at 8 stripes of 128 values
_ZERO, _ONE, _TWO, _EIGHTH, _FAR = (np.float32(x) for x in (0, 1, 2, 1 / 16, 20))
# Lambert's continued fraction tanh y = y / (1 + y^2 / (3 + y^2 / (5 + ...))), cut after y^2 / 13
_P1, _P2, _P3 = (np.float32(x / 135135) for x in (17325, 378, 1))
_Q1, _Q2, _Q3 = (np.float32(x / 135135) for x in (62370, 3150, 28))


@compiled()
def _half_tanh(square: Any) -> Any:
    """tanh(e / 2) from e^2, right to 3e-7: plain arithmetic, which vectorises, where a library call would not.

    The fraction is taken at y = e / 16, where it has converged, and doubled three times: with tanh y = p / q,
    tanh 2y = 2pq / (p^2 + q^2). Beyond e = 20 the result is 1 in float32.
    """
    y = min(math.sqrt(max(square, _ZERO)), _FAR) * _EIGHTH
    s = y * y
    p = y * (_ONE + s * (_P1 + s * (_P2 + s * _P3)))
    q = _ONE + s * (_Q1 + s * (_Q2 + s * _Q3))
    p, q = _TWO * p * q, p * p + q * q
    p, q = _TWO * p * q, p * p + q * q
    p, q = _TWO * p * q, p * p + q * q
    return p / q


@compiled()
def cells_from_products(cells_hkm: Floats, x_square_h: Floats, y_square_km: Floats) -> None:
    """Turns products of stripes into ``tanh(|x - y| / 2)``, in place.

    Args:
        cells_hkm: products of H stripes of one image with K stripes of M others.
        x_square_h: squared lengths of the former.
        y_square_km: squared lengths of the latter.
    """
    for h in range(cells_hkm.shape[0]):
        for k in range(cells_hkm.shape[1]):
            cells, square_m = cells_hkm[h, k], y_square_km[k]
            for m in range(cells.size):
                cells[m] = _half_tanh(x_square_h[h] + square_m[m] - _TWO * cells[m])


@compiled()
def shortest_paths(cells_hkm: Floats, best_km: Floats, out_m: Floats) -> None:
    """Length of the shortest path through the cells of each of M pairs, right or down from the first to the last.

    Args:
        cells_hkm: cost of each cell.
        best_km: working space.
        out_m: the lengths are written here.
    """
    for h in range(cells_hkm.shape[0]):
        for k in range(cells_hkm.shape[1]):
            cells_m, best_m = cells_hkm[h, k], best_km[k]
            left_m = best_km[max(k - 1, 0)]
            for m in range(cells_m.size):
                if h == 0 and k == 0:
                    best_m[m] = cells_m[m]
                elif h == 0:
                    best_m[m] = left_m[m] + cells_m[m]
                elif k == 0:
                    best_m[m] += cells_m[m]
                else:
                    best_m[m] = min(best_m[m], left_m[m]) + cells_m[m]
    out_m[:] = best_km[-1]


@compiled()
def local_of_near(
    x: tuple[Floats, Floats], y: tuple[Floats, Floats], near_qm: npt.NDArray[np.int64], out_qm: Floats
) -> None:
    """Aligned distances of each query to M gallery items of its own.

    The gallery is walked in chunks that stay in the cache while all queries take from them what they need.

    Args:
        x: stripes of the queries (Q,H,d) and their squared lengths (Q,H).
        y: the same of the gallery.
        near_qm: gallery indices for each query, ascending.
        out_qm: the distances are written here.
    """
    done_q = np.zeros(near_qm.shape[0], np.int64)
    cells_hk = np.empty((x[0].shape[1], y[0].shape[1]), np.float32)
    for end in range(_CHUNK, y[0].shape[0] + _CHUNK, _CHUNK):
        for query in range(near_qm.shape[0]):
            m = done_q[query]
            while m < near_qm.shape[1] and near_qm[query, m] < end:
                item = near_qm[query, m]
                _products(x[0][query], y[0][item], cells_hk)
                out_qm[query, m] = _path(cells_hk, x[1][query], y[1][item])
                m += 1
            done_q[query] = m


@compiled()
def _path(cells_hk: Floats, x_square_h: Floats, y_square_k: Floats) -> Any:
    """The shortest path of one pair, from its products; they are overwritten."""
    for h in range(cells_hk.shape[0]):
        for k in range(cells_hk.shape[1]):
            cells_hk[h, k] = _half_tanh(x_square_h[h] + y_square_k[k] - _TWO * cells_hk[h, k])
    for h in range(cells_hk.shape[0]):
        for k in range(cells_hk.shape[1]):
            if h > 0 and k > 0:
                cells_hk[h, k] += min(cells_hk[h - 1, k], cells_hk[h, k - 1])
            elif h > 0:
                cells_hk[h, k] += cells_hk[h - 1, k]
            elif k > 0:
                cells_hk[h, k] += cells_hk[h, k - 1]
    return cells_hk[-1, -1]


@compiled(reorder_sums=True)
def _products(x_hd: Floats, y_kd: Floats, out_hk: Floats) -> None:
    """Products of all stripes of one pair, eight at a time so that each value is loaded once for several.

    Past the last stripe the last one is taken again: the same value is written twice.
    """
    last_h, last_k = x_hd.shape[0] - 1, y_kd.shape[0] - 1
    for h in range(0, last_h + 1, 2):
        h1 = min(h + 1, last_h)
        for k in range(0, last_k + 1, 4):
            k1, k2, k3 = min(k + 1, last_k), min(k + 2, last_k), min(k + 3, last_k)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0)
            for d in range(x_hd.shape[1]):
                a, b = x_hd[h, d], x_hd[h1, d]
                a0 += a * y_kd[k, d]
                a1 += a * y_kd[k1, d]
                a2 += a * y_kd[k2, d]
                a3 += a * y_kd[k3, d]
                b0 += b * y_kd[k, d]
                b1 += b * y_kd[k1, d]
                b2 += b * y_kd[k2, d]
                b3 += b * y_kd[k3, d]
            out_hk[h, k], out_hk[h, k1], out_hk[h, k2], out_hk[h, k3] = a0, a1, a2, a3
            out_hk[h1, k], out_hk[h1, k1], out_hk[h1, k2], out_hk[h1, k3] = b0, b1, b2, b3
