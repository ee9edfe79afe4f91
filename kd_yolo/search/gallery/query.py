"""Who is this: the crops of a gallery that are nearest to one, re-ranked if wished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.index import Places
from kd_yolo.search.gallery.rows import Row

CANDIDATES = 10  # re-ranked for each match that is wanted
MIN_CANDIDATES = 100


@dataclass(frozen=True)
class Match:
    """A crop that was found.

    Attributes:
        rank: from 1.
        place: number of the crop in the gallery.
        distance: cosine distance to what was asked, 0..2.
        row: where the crop comes from.
        image: its file.
        is_same: whether the distance is within the threshold; None without one.
    """

    rank: int
    place: int
    distance: float
    row: Row
    image: Path
    is_same: bool | None = None


def nearest_crops(
    gallery: Gallery, vector_d: Floats, top: int = 10, *, rerank: bool = False, threshold: float | None = None
) -> list[Match]:
    """The nearest crops, best first.

    Args:
        gallery: where to look.
        vector_d: embedding (D) of the person who is looked for.
        top: how many crops.
        rerank: order the nearest ``max(100, 10 top)`` by their mutual neighbours, see :func:`kd_yolo.reid.rerank`;
            the distances stay cosine distances.
        threshold: up to which distance it is the same person; None is the gallery's own, if it has one.

    Raises:
        InputError: the gallery is empty or damaged; a vector that does not fit.
        ConfigError: ``top`` below 1.
        MissingDependencyError: re-ranking needs a package that is not installed.
    """
    if not len(gallery):
        raise InputError(f"{gallery.folder} is empty: kd-yolo search index CROPS --gallery {gallery.folder}")
    if threshold is None and gallery.threshold is not None:
        threshold = gallery.threshold.distance
    wanted = max(MIN_CANDIDATES, CANDIDATES * top) if rerank and top > 0 else top
    places_qk, distances_qk = gallery.query(vector_d[None], wanted)
    found = places_qk[0] >= 0
    places_k, distances_k = places_qk[0][found], distances_qk[0][found]
    if rerank:
        order = _reranked(gallery, vector_d, places_k)
        places_k, distances_k = places_k[order], distances_k[order]
    rows = gallery.rows(places_k[:top])
    return [
        Match(rank, row["place"], float(distance), row, gallery.image_path(row["place"]),
              None if threshold is None else bool(distance <= threshold))
        for rank, (row, distance) in enumerate(zip(rows, distances_k[:top], strict=True), 1)
    ]  # fmt: skip


def _reranked(gallery: Gallery, vector_d: Floats, places_k: Places) -> Places:
    """Order of the candidates after re-ranking; equal ones keep theirs."""
    reranking = require("kd_yolo.reid.evaluation.rerank")
    unit_1d = (vector_d / np.linalg.norm(vector_d))[None]
    final_k = reranking.rerank(unit_1d, gallery.vectors(places_k))[0]
    return np.asarray(np.argsort(final_k, kind="stable"), np.int64)
