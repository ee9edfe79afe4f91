"""Images of an evaluation: CMC curves, and histograms of the distances of right and wrong pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kd_yolo.base.errors import InputError
from kd_yolo.base.figure import write_figure
from kd_yolo.base.palette import LINES
from kd_yolo.reid.evaluation.distance import BLOCK_QUERIES
from kd_yolo.reid.evaluation.matches import JUNK_ID, as_labels

# Okabe and Ito: told apart also by people who see red and green alike


@dataclass(frozen=True)
class PairHistogram:
    """Distances of query-gallery pairs that count.

    Attributes:
        edges: of the bins (num_bins+1).
        same: pairs of one identity in each bin.
        different: pairs of two identities in each bin.
    """

    edges: npt.NDArray[np.float64]
    same: npt.NDArray[np.int64]
    different: npt.NDArray[np.int64]


def pair_histogram(
    dist_qg: Any, query: tuple[Any, Any], gallery: tuple[Any, Any], *, num_bins: int = 100
) -> PairHistogram:
    """Counts pairs by distance, a block of queries at a time; junk and pairs of one identity and camera do not count.

    Args:
        dist_qg: distances (Nq,Ng), numpy.
        query: identities (Nq), and cameras (Nq) or None.
        gallery: identities (Ng), and cameras (Ng) or None.
        num_bins: between the smallest and the largest distance.

    Returns:
        The counts.

    Raises:
        InputError: no distances, NaN among them, or shapes that do not fit.
    """
    dist_qg = np.asarray(dist_qg)
    if dist_qg.ndim != 2 or dist_qg.size == 0 or not np.isfinite([dist_qg.min(), dist_qg.max()]).all():
        raise InputError(f"distances have shape {dist_qg.shape} or NaN or infinite values: expected finite (Nq,Ng).")
    q_labels = as_labels(*query, "query", dist_qg.shape[0])
    g_labels = as_labels(*gallery, "gallery", dist_qg.shape[1])
    edges = np.histogram_bin_edges(dist_qg[:0], num_bins, (float(dist_qg.min()), float(dist_qg.max())))
    counts = np.zeros((2, num_bins), np.int64)
    for start in range(0, len(dist_qg), BLOCK_QUERIES):
        rows = slice(start, start + BLOCK_QUERIES)
        is_same_bg = q_labels.ids[rows, None] == g_labels.ids
        counts_bg = np.broadcast_to(g_labels.ids != JUNK_ID, is_same_bg.shape)
        if q_labels.cams is not None and g_labels.cams is not None:
            counts_bg = counts_bg & ~(is_same_bg & (q_labels.cams[rows, None] == g_labels.cams))
        for kind, chosen_bg in enumerate((is_same_bg & counts_bg, ~is_same_bg & counts_bg)):
            counts[kind] += np.histogram(dist_qg[rows][chosen_bg], edges)[0]
    return PairHistogram(edges, counts[0], counts[1])


def draw_pair_histogram(histogram: PairHistogram, path: str | Path) -> Path:
    """Draws the share of right and of wrong pairs at each distance; what overlaps is what a threshold gets wrong.

    Returns:
        ``path``.
    """
    figure, axis = _figure()
    for counts, label, colour in (
        (histogram.same, "same identity", LINES[0]),
        (histogram.different, "different identities", LINES[1]),
    ):
        share = counts / max(counts.sum(), 1)
        axis.stairs(share, histogram.edges, fill=True, alpha=0.45, color=colour, label=f"{label} ({counts.sum():,})")
    axis.set_xlabel("distance")
    axis.set_ylabel("share of the pairs")
    axis.legend(frameon=False)
    return write_figure(path, figure)


def draw_cmc(curves: Mapping[str, npt.NDArray[np.float64]], path: str | Path) -> Path:
    """Draws CMC curves.

    Args:
        curves: CMC by label, as in :class:`RankResult`; at least one.
        path: PNG to write; its folder is made if needed.

    Returns:
        ``path``.

    Raises:
        InputError: no curve.
    """
    if not curves:
        raise InputError("there is no CMC curve to draw: give at least one.")
    figure, axis = _figure()
    for number, (label, cmc) in enumerate(curves.items()):
        ranks = np.arange(1, len(cmc) + 1)
        text = f"{label} (Rank-1 {cmc[0]:.1%})"
        axis.plot(ranks, cmc, color=LINES[number % len(LINES)], marker="o", markersize=2.5, label=text)
    axis.set_xlabel("rank")
    axis.set_ylabel("share of the queries with a hit up to this rank")
    axis.set_ylim(top=1.01)
    axis.legend(frameon=False, loc="lower right")
    return write_figure(path, figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.2), dpi=130, layout="constrained")
    axis = figure.subplots()
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis
