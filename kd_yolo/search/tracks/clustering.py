"""Which tracks are of one person: clusters of tracks by how they look, over cameras and over gaps in one camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """When a track was seen.

    Attributes:
        video: number of the video: those of one camera at different times are different videos.
        first, last: frames.
    """

    video: int
    first: int
    last: int

    def meets(self, other: Span) -> bool:
        """Whether both were there at one time in one video, and so are two people."""
        return self.video == other.video and self.first <= other.last and other.first <= self.last


def link_tracks(vectors_nd: npt.ArrayLike, spans: Sequence[Span], threshold: float) -> Ints:
    """Agglomerative clustering with average linkage that never joins tracks which were seen at one time.

    The nearest two clusters are joined first, as long as their mean cosine distance is at most the threshold. So two
    cameras' tracks are matched one-to-one, but for pieces of a person's way through one camera.

    Args:
        vectors_nd: (N, D) mean embedding of each track, of any length but zero.
        spans: of each track.
        threshold: largest mean distance 1 - cos within a person, 0 to 2.

    Returns:
        (N,) the person of each track, from 1 in the order of their first tracks.
    """
    distance_nn = _distances(np.asarray(vectors_nd, np.float64), spans)
    sizes, cluster_n = np.ones(len(spans)), np.arange(len(spans))
    while len(spans) > 1:
        a, b = (int(place) for place in np.unravel_index(np.argmin(distance_nn), distance_nn.shape))
        if distance_nn[a, b] > threshold:
            break
        a, b = min(a, b), max(a, b)
        merged_n = (sizes[a] * distance_nn[a] + sizes[b] * distance_nn[b]) / (sizes[a] + sizes[b])
        distance_nn[a], distance_nn[:, a] = merged_n, merged_n
        distance_nn[b], distance_nn[:, b], distance_nn[a, a] = np.inf, np.inf, np.inf
        sizes[a] += sizes[b]
        cluster_n[cluster_n == b] = a
    return _numbered(cluster_n)


def _distances(vectors_nd: Floats, spans: Sequence[Span]) -> Floats:
    """1 - cos (N, N); infinite on the diagonal and between tracks that meet."""
    unit_nd = vectors_nd / np.linalg.norm(vectors_nd, axis=1, keepdims=True)
    distance_nn = 1 - unit_nd @ unit_nd.T
    apart_nn = np.array([[a is b or a.meets(b) for b in spans] for a in spans], bool).reshape(distance_nn.shape)
    return np.where(apart_nn, np.inf, distance_nn)


def _numbered(cluster_n: Ints) -> Ints:
    """Clusters as 1, 2, 3, ... in the order in which they appear."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(int(cluster), len(numbers) + 1) for cluster in cluster_n], np.int64)
