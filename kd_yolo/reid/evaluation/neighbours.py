"""The nearest neighbours of every embedding among all, tile by tile: each pair is computed once and never kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kd_yolo.reid.evaluation.compiled import compiled
from kd_yolo.reid.evaluation.distance import Floats

Indices = npt.NDArray[np.int32]
_TILE = 1024
_STRIDE = 64


@dataclass(frozen=True)
class Neighbours:
    """The k nearest of each of N embeddings, itself included, by squared Euclidean distance and then by index.

    Attributes:
        nearest_nk: their indices (N,k), nearest first.
        square_nk: their squared distances (N,k).
        farthest_n: largest squared distance of each embedding to any (N).
    """

    nearest_nk: Indices
    square_nk: Floats
    farthest_n: Floats


def find_neighbours(features_nd: Floats, num_nearest: int, square_qg: Floats) -> Neighbours:
    """Finds the neighbours.

    Args:
        features_nd: (N,D): the Nq queries, then the Ng gallery items.
        num_nearest: k, at most N.
        square_qg: (Nq,Ng); the squared distances of queries to gallery are written here.

    Returns:
        The neighbours; distances to itself are 0 exactly.
    """
    total = len(features_nd)
    length_n = np.einsum("nd,nd->n", features_nd, features_nd)
    nearest_nk = np.full((total, num_nearest), -1, np.int32)
    square_nk = np.full((total, num_nearest), np.inf, np.float32)
    farthest_n = np.zeros(total, np.float32)
    limit_n = np.full(total, np.inf, np.float32)
    for top in range(0, total, _TILE):
        for left in range(top, total, _TILE):  # items reach every list in ascending order: ties rank by index
            rows, columns = slice(top, min(top + _TILE, total)), slice(left, min(left + _TILE, total))
            tile_ab = features_nd[rows] @ features_nd[columns].T
            tile_ab *= -2
            tile_ab += length_n[rows, None]
            tile_ab += length_n[columns]
            np.maximum(tile_ab, 0, out=tile_ab)
            farthest_n[rows] = np.maximum(farthest_n[rows], tile_ab.max(1))
            farthest_n[columns] = np.maximum(farthest_n[columns], tile_ab.max(0))
            _offer(tile_ab, (top, left), nearest_nk, square_nk, limit_n)
            _keep(tile_ab, (top, left), square_qg)
    return Neighbours(nearest_nk, square_nk, farthest_n)


def _keep(tile_ab: Floats, corner: tuple[int, int], square_qg: Floats) -> None:
    """Copies what a tile holds of queries x gallery."""
    top, left = corner
    num_queries = len(square_qg)
    rows = min(top + len(tile_ab), num_queries) - top
    skipped = max(num_queries - left, 0)
    if rows > 0 and skipped < tile_ab.shape[1]:
        start = left + skipped - num_queries
        square_qg[top : top + rows, start : start + tile_ab.shape[1] - skipped] = tile_ab[:rows, skipped:]


@compiled()
def _offer(tile_ab: Floats, corner: tuple[int, int], nearest_nk: Indices, square_nk: Floats, limit_n: Floats) -> None:
    """Offers each pair of a tile to the lists of both; on the diagonal each pair and each item itself once."""
    top, left = corner
    limit_b = limit_n[left : left + tile_ab.shape[1]]
    for a in range(tile_ab.shape[0]):
        start = 0
        if top == left:
            _insert(top + a, top + a, np.float32(0), nearest_nk, square_nk)
            limit_n[top + a] = square_nk[top + a, -1]
            start = a + 1
        for begin in range(start, tile_ab.shape[1], _STRIDE):
            end = min(begin + _STRIDE, tile_ab.shape[1])
            if _any_below(tile_ab[a, begin:end], limit_n[top + a], limit_b[begin:end]) > 0:
                for b in range(begin, end):
                    square = tile_ab[a, b]
                    if square < limit_n[top + a]:
                        _insert(top + a, left + b, square, nearest_nk, square_nk)
                        limit_n[top + a] = square_nk[top + a, -1]
                    if square < limit_b[b]:
                        _insert(left + b, top + a, square, nearest_nk, square_nk)
                        limit_b[b] = square_nk[left + b, -1]


@compiled(reorder_sums=True)
def _any_below(values: Floats, limit: float, limits: Floats) -> np.float32:
    """How many values lie below either limit."""
    count: np.float32 = np.float32(0)
    for n in range(values.size):
        count += np.float32(1) if values[n] < max(limit, limits[n]) else np.float32(0)
    return count


@compiled()
def _insert(item: int, other: int, square: float, nearest_nk: Indices, square_nk: Floats) -> None:
    """Puts ``other`` into the list of ``item``, behind what is as near."""
    place = square_nk.shape[1] - 1
    while place > 0 and square_nk[item, place - 1] > square:
        square_nk[item, place], nearest_nk[item, place] = square_nk[item, place - 1], nearest_nk[item, place - 1]
        place -= 1
    square_nk[item, place], nearest_nk[item, place] = square, other
