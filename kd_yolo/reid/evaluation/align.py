"""Distances between people cut into horizontal stripes, the stripes of both aligned first (DMLI)."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.reid.evaluation.align_kernel import cells_from_products, shortest_paths
from kd_yolo.reid.evaluation.distance import Floats, as_embeddings, distance_blocks, to_numpy

_ROWS, _COLUMNS = 16, 512  # pairs of one block: 2 MiB of cells at 8 stripes


def local_distance(x_nhd: Any, y_mhd: Any, aligned: bool = True) -> Floats:
    """Distance between the stripes of all pairs of images.

    With ``e_ij = |x_i - y_j|`` and ``d_ij = tanh(e_ij / 2)``, the aligned distance is the length of the shortest path
    from d_11 to d_HH that goes right or down, the sum of its 2H - 1 cells: 0..11.4 for 8 stripes of unit length. The
    distance that is not aligned is the sum over matched stripes, d_11 + ... + d_HH, as in the authors' code: 0..6.1.

    Args:
        x_nhd: stripes (N,H,d) from top to bottom, unit rows, numpy or torch.
        y_mhd: stripes (M,H,d).
        aligned: find the shortest path; else compare stripe with stripe.

    Returns:
        (N,M) float32. Pairs of almost equal stripes may be off by about 1e-3.

    Raises:
        InputError: not three axes, different H or d, NaN or infinite values.

    References:
        Luo et al., "AlignedReID++", Pattern Recognition 94, 2019, section 3.2.
    """
    x_nhd, y_mhd = as_stripes(x_nhd, "query"), as_stripes(y_mhd, "gallery")
    check_same_stripes(x_nhd, y_mhd)
    out_nm = np.zeros((len(x_nhd), len(y_mhd)), np.float32)
    if not aligned:
        for stripe in range(x_nhd.shape[1]):
            for start, dist_bm in distance_blocks(x_nhd[:, stripe], y_mhd[:, stripe], "euclidean"):
                out_nm[start : start + len(dist_bm)] += np.tanh(dist_bm / 2)
        return out_nm
    for column in range(0, len(y_mhd), _COLUMNS):
        _align(x_nhd, y_mhd[column : column + _COLUMNS], out_nm[:, column : column + _COLUMNS])
    return out_nm


def as_stripes(stripes_nhd: Any, side: str) -> Floats:
    """Stripes (N,H,d) as float32, checked.

    Raises:
        InputError: not three axes; NaN or infinite values.
    """
    array_nhd = np.ascontiguousarray(to_numpy(stripes_nhd), np.float32)
    if array_nhd.ndim != 3 or 0 in array_nhd.shape[1:]:
        raise InputError(f"{side} stripes have shape {array_nhd.shape}, expected (N,H,d): H stripes per image.")
    num, height, size = array_nhd.shape
    as_embeddings(array_nhd.reshape(num, height * size), side)
    return array_nhd


def check_same_stripes(x_nhd: Floats, y_mhd: Floats) -> None:
    """Raises an InputError when the two sides differ in stripes or in values a stripe."""
    if x_nhd.shape[1:] != y_mhd.shape[1:]:
        raise InputError(
            f"queries have {x_nhd.shape[1]} stripes of {x_nhd.shape[2]} values, the gallery {y_mhd.shape[1]} of"
            f" {y_mhd.shape[2]}: embed both with the same network."
        )


def _align(x_nhd: Floats, y_mhd: Floats, out_nm: Floats) -> None:
    """Writes the aligned distances of all x to some y."""
    num_stripes = y_mhd.shape[1]
    y_hmd = np.ascontiguousarray(y_mhd.transpose(1, 0, 2))  # pairs lie side by side in the products
    x_square_nh, y_square_hm = (np.einsum("abd,abd->ab", stripes, stripes) for stripes in (x_nhd, y_hmd))
    best_hm = np.empty(y_square_hm.shape, np.float32)
    columns_cd = y_hmd.reshape(-1, y_hmd.shape[2])
    for start in range(0, len(x_nhd), _ROWS):
        rows_rd = x_nhd[start : start + _ROWS].reshape(-1, x_nhd.shape[2])
        cells_bhhm = (rows_rd @ columns_cd.T).reshape(-1, num_stripes, num_stripes, len(y_mhd))
        for row, cells_hhm in enumerate(cells_bhhm, start):
            cells_from_products(cells_hhm, x_square_nh[row], y_square_hm)
            shortest_paths(cells_hhm, best_hm, out_nm[row])
