"""The inner loops of k-reciprocal re-ranking: who counts as a neighbour of whom, by how much, and who shares them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kd_yolo.reid.evaluation.compiled import compiled
from kd_yolo.reid.evaluation.distance import Floats
from kd_yolo.reid.evaluation.neighbours import Indices

Starts = npt.NDArray[np.int64]


@compiled()
def mutual(nearest_nk: Indices, width: int) -> Indices:
    """R(i, width - 1): those of the first ``width`` neighbours that have i among theirs.

    Args:
        nearest_nk: neighbours (N,k), k >= width.
        width: neighbours looked at, the item itself included.

    Returns:
        (N,width), nearest first, filled up with -1.
    """
    mutual_nw = np.full((nearest_nk.shape[0], width), -1, np.int32)
    for item in range(nearest_nk.shape[0]):
        count = 0
        for a in range(width):
            other = nearest_nk[item, a]
            for b in range(width):
                if nearest_nk[other, b] == item:
                    mutual_nw[item, count] = other
                    count += 1
                    break
    return mutual_nw


@compiled()
def expand(full_nw: Indices, half_nh: Indices) -> tuple[Indices, Starts]:
    """R*(i): R(i, k1) with each R(q, k1/2), q in R(i, k1), that lies in R(i, k1) by more than two thirds.

    Args:
        full_nw: mutual neighbours (N,w), filled up with -1.
        half_nh: mutual neighbours among the nearer half (N,h), filled up with -1.

    Returns:
        The members of all sets one after the other, and the start of each set (N+1).
    """
    total, width = full_nw.shape
    largest = width * (half_nh.shape[1] + 1)
    members = np.empty(total * width + largest, np.int32)
    starts = np.zeros(total + 1, np.int64)
    seen_n, core_n = np.full(total, -1, np.int32), np.full(total, -1, np.int32)
    end = 0
    for item in range(total):
        if end + largest > members.size:
            members = np.concatenate((members, np.empty(members.size, np.int32)))
        for other in full_nw[item]:
            if other >= 0:
                members[end] = other
                end += 1
                seen_n[other] = core_n[other] = item
        for other in full_nw[item]:
            if other >= 0 and _is_inside(half_nh[other], core_n, item):
                for third in half_nh[other]:
                    if third >= 0 and seen_n[third] != item:
                        members[end] = third
                        end += 1
                        seen_n[third] = item
        starts[item + 1] = end
    return members[:end].copy(), starts


@compiled()
def _is_inside(candidates: Indices, core_n: Indices, item: int) -> bool:
    """Whether more than two thirds of the candidates are in the core of ``item``."""
    count = inside = 0
    for other in candidates:
        if other >= 0:
            count += 1
            inside += core_n[other] == item
    return 3 * inside > 2 * count


@compiled()
def soften(
    features_nd: Floats, members: Indices, starts: Starts, known: tuple[Indices, Floats], farthest_n: Floats
) -> Floats:
    """Rows of V: exp(-d) over each set, d the squared distance in shares of the farthest, divided by their sum.

    Args:
        features_nd: embeddings (N,D).
        members: of the sets, as from :func:`expand`.
        starts: of the sets.
        known: nearest neighbours (N,k) and their squared distances, which need not be computed again.
        farthest_n: largest squared distance of each (N).

    Returns:
        One weight for each member.
    """
    weights = np.empty(members.size, np.float32)
    for item in range(starts.size - 1):
        total = np.float32(0)
        for n in range(starts[item], starts[item + 1]):
            square = np.float32(-1)
            for a in range(known[0].shape[1]):
                if known[0][item, a] == members[n]:
                    square = known[1][item, a]
                    break
            if square < 0:
                square = _square_distance(features_nd[item], features_nd[members[n]])
            weights[n] = np.exp(-square / farthest_n[item])
            total += weights[n]
        for n in range(starts[item], starts[item + 1]):
            weights[n] /= total
    return weights


@compiled(reorder_sums=True)
def _square_distance(x_d: Floats, y_d: Floats) -> np.float32:
    total: np.float32 = np.float32(0)
    for n in range(x_d.size):
        total += (x_d[n] - y_d[n]) * (x_d[n] - y_d[n])
    return total


@compiled()
def mix_jaccard(
    rows: tuple[Starts, Indices, Floats], columns: tuple[Starts, Indices, Floats], lambda_value: float, final_qg: Floats
) -> None:
    """Replaces distances by ``(1 - lambda) * Jaccard + lambda * distance``.

    Args:
        rows: V of the queries as CSR: starts (Nq+1), columns and values.
        columns: V of the gallery as CSC: starts (N+1), rows and values.
        lambda_value: share of the distances.
        final_qg: distances (Nq,Ng) in shares of the farthest; changed in place.
    """
    lam = np.float32(lambda_value)
    shared_g = np.empty(final_qg.shape[1], np.float32)
    for query in range(final_qg.shape[0]):
        shared_g[:] = 0
        for a in range(rows[0][query], rows[0][query + 1]):
            common, value = rows[1][a], rows[2][a]
            for b in range(columns[0][common], columns[0][common + 1]):
                shared_g[columns[1][b]] += min(value, columns[2][b])
        for item in range(final_qg.shape[1]):
            jaccard = np.float32(1) - shared_g[item] / (np.float32(2) - shared_g[item])
            final_qg[query, item] = (np.float32(1) - lam) * jaccard + lam * final_qg[query, item]
