"""Global and local distance joined, the stripes compared only where the global distance is small."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.align import as_stripes, check_same_stripes
from kd_yolo.reid.evaluation.align_kernel import local_of_near
from kd_yolo.reid.evaluation.distance import Floats
from kd_yolo.reid.evaluation.top import nearest_items

_QUERIES = 1024


def realign_top(dist_qg: Floats, x_qhd: Any, y_ghd: Any, *, num_items: int = 100, weight: float = 1.0) -> Floats:
    """Adds the aligned local distance to the global distance of each query's nearest gallery items.

    The two have different ranges: the global distance of unit rows is 0..4 (squared Euclidean; cosine 0..2, Euclidean
    0..2), the local one of 8 stripes 0..11.4, so weights below 1 keep the global one's say. The other items count as if
    they had the largest possible local distance, ``2H - 1``: they stay behind, in their order. So that they need not be
    touched, that constant is taken off all sums: the nearest get ``global + weight * (local - (2H - 1))``, which may be
    negative, and the others keep their global distance.

    Args:
        dist_qg: global distances (Nq,Ng), float32; CHANGED in place, as a copy would double the memory.
        x_qhd: stripes of the queries (Nq,H,d), unit rows.
        y_ghd: stripes of the gallery (Ng,H,d), unit rows.
        num_items: how many of the nearest to realign; more than Ng are as many as Ng.
        weight: of the local distance, 0 or more.

    Returns:
        ``dist_qg``: global + weight * local, less a constant.

    Raises:
        InputError: shapes do not fit, the matrix is not contiguous float32, or NaN.
        ConfigError: ``num_items`` below 1 or a negative weight.

    References:
        Luo et al., "AlignedReID++", Pattern Recognition 94, 2019, section 3.2.
    """
    if num_items < 1 or weight < 0:
        raise ConfigError(f"num_items={num_items}, weight={weight}: expected at least 1, and 0 or more.")
    x_qhd, y_ghd = as_stripes(x_qhd, "query"), as_stripes(y_ghd, "gallery")
    check_same_stripes(x_qhd, y_ghd)
    expected = (len(x_qhd), len(y_ghd))
    if not isinstance(dist_qg, np.ndarray) or dist_qg.dtype != np.float32 or not dist_qg.flags.c_contiguous:
        raise InputError("distances must be a contiguous float32 array: take those of distance_matrix.")
    if dist_qg.shape != expected:
        raise InputError(f"distances have shape {dist_qg.shape}, expected {expected} for these stripes.")
    if len(y_ghd) == 0:
        return dist_qg
    x, y = ((stripes, np.einsum("nhd,nhd->nh", stripes, stripes)) for stripes in (x_qhd, y_ghd))
    for start in range(0, len(dist_qg), _QUERIES):
        rows = slice(start, start + _QUERIES)
        near_bm = nearest_items(dist_qg[rows], min(num_items, len(y_ghd)))
        joined_bm = np.empty(near_bm.shape, np.float32)
        local_of_near((x[0][rows], x[1][rows]), y, near_bm, joined_bm)
        joined_bm -= 2 * x_qhd.shape[1] - 1
        joined_bm *= weight
        joined_bm += np.take_along_axis(dist_qg[rows], near_bm, 1)
        np.put_along_axis(dist_qg[rows], near_bm, joined_bm, 1)
    return dist_qg
