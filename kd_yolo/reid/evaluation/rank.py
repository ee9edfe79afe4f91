"""CMC, mAP and mINP from distances or from embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.distance import BLOCK_QUERIES, Metric, distance_blocks, to_numpy
from kd_yolo.reid.evaluation.matches import Gallery, Labels, as_labels
from kd_yolo.reid.evaluation.rank_kernel import MAX_ITEMS, hit_places

ApKind = Literal["rectangle", "trapezoid"]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankResult:
    """How well queries find their identity.

    Attributes:
        map: mean average precision, 0..1, over the queries that count.
        minp: mean inverse negative penalty (Ye et al. 2021, arXiv 2001.04193): hits / place of the last hit.
        cmc: (max_rank), share of the queries with a hit among the first r = 1..max_rank items; ``cmc[0]`` is Rank-1.
        num_valid_queries: queries with something to find.
        ap: (Nq), average precision of each query, NaN where it was skipped.
        num_skipped: queries without anything to find, which no figure counts.
    """

    map: float
    minp: float
    cmc: Doubles
    num_valid_queries: int
    ap: Doubles
    num_skipped: int


def evaluate(
    dist_qg: Any,
    q_ids: Any,
    g_ids: Any,
    q_cams: Any = None,
    g_cams: Any = None,
    max_rank: int = 50,
    *,
    ap: ApKind = "rectangle",
) -> RankResult:
    """Ranks the gallery for each query and scores the ranking.

    Gallery items of the query's identity and camera do not count, nor does junk (identity -1); without cameras only
    junk is left out. Distractors (identity 0 of Market-1501, which no query has) count as wrong answers. Equal
    distances rank by gallery index. Where the gallery is shorter than ``max_rank``, the CMC goes on with its last
    value.

    Args:
        dist_qg: distances (Nq,Ng), numpy or torch; small is near.
        q_ids: identities of the queries (Nq).
        g_ids: identities of the gallery (Ng).
        q_cams: cameras of the queries (Nq), or None for the protocol without cameras.
        g_cams: cameras of the gallery (Ng), or None.
        max_rank: length of the CMC.
        ap: ``"rectangle"``, mean precision at the hits (torchreid and most papers), or ``"trapezoid"``, the area under
            the precision-recall curve joined by straight lines (the authors' code of Market-1501; it starts at
            precision 1).

    Returns:
        The metrics.

    Raises:
        InputError: no query or gallery item, NaN distances, shapes that do not fit, or no query with a match.
        ConfigError: unknown ``ap``, ``max_rank`` below 1, or cameras on one side only.

    References:
        Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
    """
    dist_qg = to_numpy(dist_qg)
    if dist_qg.ndim != 2:
        raise InputError(f"distances have shape {dist_qg.shape}, expected (Nq,Ng).")
    queries = as_labels(q_ids, q_cams, "query", dist_qg.shape[0])
    gallery = as_labels(g_ids, g_cams, "gallery", dist_qg.shape[1])
    blocks = ((row, _as_rows(dist_qg[row : row + BLOCK_QUERIES])) for row in range(0, len(dist_qg), BLOCK_QUERIES))
    return _evaluate(blocks, queries, gallery, max_rank, ap)


def evaluate_embeddings(
    query: tuple[Any, Any, Any],
    gallery: tuple[Any, Any, Any],
    max_rank: int = 50,
    *,
    metric: Metric = "cosine",
    ap: ApKind = "rectangle",
) -> RankResult:
    """:func:`evaluate` without the matrix of distances: they live for one block of 256 queries.

    Args:
        query: embeddings (Nq,D), identities (Nq) and cameras (Nq); cameras None for the protocol without cameras.
        gallery: the same of the gallery (Ng).
        max_rank: length of the CMC.
        metric: as in :func:`kd_yolo.reid.evaluation.distance.distance_matrix`.
        ap: as in :func:`evaluate`.

    Returns:
        The metrics.

    Raises:
        InputError: see :func:`evaluate`; also NaN embeddings.
        ConfigError: see :func:`evaluate`; also an unknown metric.
    """
    q_labels = as_labels(query[1], query[2], "query", len(query[0]))
    g_labels = as_labels(gallery[1], gallery[2], "gallery", len(gallery[0]))
    return _evaluate(distance_blocks(query[0], gallery[0], metric), q_labels, g_labels, max_rank, ap)


def _as_rows(dist_bg: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Contiguous rows of float32 or float64; every other type fits into one of them."""
    fitting = {np.dtype(np.float16): np.float32, np.dtype(np.float32): np.float32}
    return np.ascontiguousarray(dist_bg, fitting.get(dist_bg.dtype, np.float64))


def _evaluate(
    blocks: Iterable[tuple[int, npt.NDArray[Any]]], queries: Labels, gallery: Labels, max_rank: int, ap: ApKind
) -> RankResult:
    """Scores the queries block by block; a block is its first query and its distances (B,G)."""
    if max_rank < 1 or ap not in get_args(ApKind):
        raise ConfigError(f"max_rank={max_rank}, ap='{ap}': expected at least 1, and {' or '.join(get_args(ApKind))}.")
    _check_sizes(len(queries.ids), len(gallery.ids))
    by_id = Gallery(gallery)
    scores_q3 = np.full((len(queries.ids), 3), np.nan)
    for start, dist_bg in blocks:
        rows = slice(start, start + len(dist_bg))
        matches = by_id.matches(Labels(queries.ids[rows], None if queries.cams is None else queries.cams[rows]))
        hits, drops = (matches.hits_m, matches.hit_starts), (matches.drops_m, matches.drop_starts)
        places_m, num_nan_b = hit_places(dist_bg, hits, drops, by_id.junk_m)
        _check_nan(num_nan_b, start)
        scores_q3[rows] = _scores(places_m, matches.hit_starts, ap)
    if np.isnan(scores_q3[:, 0]).all():
        raise InputError(_no_match(queries, gallery))
    return _summary(scores_q3, max_rank)


def _scores(places_m: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], ap: ApKind) -> Doubles:
    """(B,3): average precision, inverse negative penalty, place of the first hit from 0; NaN without a hit."""
    counts = np.diff(starts)
    query_m = np.repeat(np.arange(len(counts)), counts)
    nth_m = np.arange(1, len(places_m) + 1) - starts[query_m]
    precision_m = nth_m / (places_m + 1)
    if ap == "trapezoid":
        before_m = np.where(places_m > 0, (nth_m - 1) / np.maximum(places_m, 1), 1.0)
        precision_m = (precision_m + before_m) / 2
    scores_b3 = np.full((len(counts), 3), np.nan)
    has = counts > 0
    scores_b3[has, 0] = np.bincount(query_m, precision_m, len(counts))[has] / counts[has]
    scores_b3[has, 1] = counts[has] / (places_m[starts[1:][has] - 1] + 1)
    scores_b3[has, 2] = places_m[starts[:-1][has]]
    return scores_b3


def _summary(scores_q3: Doubles, max_rank: int) -> RankResult:
    valid_v3 = scores_q3[~np.isnan(scores_q3[:, 0])]
    first = valid_v3[:, 2].astype(np.int64)
    cmc = np.cumsum(np.bincount(first[first < max_rank], minlength=max_rank)) / len(valid_v3)
    mean_ap, mean_inp = valid_v3[:, :2].mean(0)
    num_skipped = len(scores_q3) - len(valid_v3)
    return RankResult(float(mean_ap), float(mean_inp), cmc, len(valid_v3), scores_q3[:, 0].copy(), num_skipped)


def _check_sizes(num_queries: int, num_gallery: int) -> None:
    if num_queries == 0 or num_gallery == 0:
        empty = "query" if num_queries == 0 else "gallery"
        raise InputError(
            f"the {empty} set is empty ({num_queries} queries, {num_gallery} gallery items): nothing can be ranked."
            " Check the data folder, or use a protocol without cameras that splits one folder into both."
        )
    if num_gallery >= MAX_ITEMS:
        raise InputError(
            f"{num_gallery} gallery items are too many, expected fewer than {MAX_ITEMS}: split the gallery."
        )


def _check_nan(num_nan_b: npt.NDArray[np.int64], start: int) -> None:
    if num_nan_b.any():
        row = int(np.flatnonzero(num_nan_b)[0])
        raise InputError(
            f"{num_nan_b[row]} distance(s) of query {start + row} are NaN: check the embeddings of this query, and of"
            " the gallery if it is all of them."
        )


def _no_match(queries: Labels, gallery: Labels) -> str:
    """Why no query has a match, and what would help."""
    known = set(gallery.ids.tolist()) - {-1}
    num_known = sum(identity in known for identity in queries.ids.tolist())
    total = len(queries.ids)
    text = f"none of the {total} queries has a match in the gallery of {len(gallery.ids)}: "
    if num_known == 0:
        return text + (
            f"the identities of all {total} are absent from it. Check that query and gallery come from the same set"
            " and that identities are numbered alike."
        )
    return text + (
        f"{total - num_known} identities are absent, and {num_known} are there from the query's own camera only, which"
        " does not count. For data of a single camera use a protocol without cameras (q_cams=None, g_cams=None)."
    )
