"""Which gallery items a query should find, and which ones do not count for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.distance import to_numpy

JUNK_ID = -1
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Who is in the images.

    Attributes:
        ids: identity (N); -1 is junk, which no ranking counts.
        cams: camera (N), or None for a protocol without cameras.
    """

    ids: Ints
    cams: Ints | None


@dataclass(frozen=True)
class Matches:
    """Gallery indices for each of B queries, in ascending order; query b has ``[starts[b] : starts[b + 1]]``.

    Attributes:
        hits_m: items that the query should find.
        hit_starts: (B+1).
        drops_m: items of the query's identity and camera, which do not count.
        drop_starts: (B+1).
    """

    hits_m: Ints
    hit_starts: Ints
    drops_m: Ints
    drop_starts: Ints


def as_labels(ids: Any, cams: Any, side: str, count: int) -> Labels:
    """Identities and cameras as integers, checked.

    Args:
        ids: (N), numpy, torch or list.
        cams: (N) or None.
        side: ``"query"`` or ``"gallery"``, for messages.
        count: N that is expected.

    Raises:
        InputError: another number of values, or not whole numbers.
    """
    found = [_as_ints(values, f"{side} {what}", count) for values, what in ((ids, "ids"), (cams, "cameras"))]
    assert found[0] is not None
    return Labels(found[0], found[1])


def _as_ints(values: Any, what: str, count: int) -> Ints | None:
    if values is None:
        if what.endswith("ids"):
            raise InputError(f"{what} are missing: give one identity per image.")
        return None
    array = to_numpy(values)
    if array.shape != (count,):
        raise InputError(f"{what} have shape {array.shape}, expected ({count},): one for each image.")
    whole = array.astype(np.int64)
    if not np.array_equal(whole, array):
        raise InputError(f"{what} must be whole numbers, got {array.dtype} with {array[whole != array][0]!r}.")
    return whole


class Gallery:
    """The gallery by identity.

    Args:
        labels: identities and cameras of the gallery.
    """

    def __init__(self, labels: Labels) -> None:
        self._cams = labels.cams
        self.junk_m: Ints = np.flatnonzero(labels.ids == JUNK_ID)
        by_id = np.argsort(labels.ids, kind="stable")
        self._by_id = by_id[labels.ids[by_id] != JUNK_ID]
        self._sorted_ids = labels.ids[self._by_id]

    def matches(self, queries: Labels) -> Matches:
        """What each of the queries should find; the work and memory are those of the matches, not of the gallery."""
        if (queries.cams is None) != (self._cams is None):
            raise ConfigError("cameras are given for one of query and gallery only: give both or none.")
        low = np.searchsorted(self._sorted_ids, queries.ids, "left")
        sizes = np.searchsorted(self._sorted_ids, queries.ids, "right") - low
        query_m = np.repeat(np.arange(len(queries.ids)), sizes)
        place_m = np.arange(len(query_m)) - np.repeat(np.cumsum(sizes) - sizes - low, sizes)
        item_m = self._by_id[place_m]
        is_own_m = np.zeros(len(item_m), bool)
        if self._cams is not None and queries.cams is not None:
            is_own_m = self._cams[item_m] == queries.cams[query_m]
        hit_starts, drop_starts = (
            np.concatenate([[0], np.cumsum(np.bincount(query_m[chosen_m], minlength=len(sizes)))])
            for chosen_m in (~is_own_m, is_own_m)
        )
        return Matches(item_m[~is_own_m], hit_starts, item_m[is_own_m], drop_starts)
