"""What is odd about the identities and cameras of a set: notes where it can be used, errors where it cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import first_few
from kd_yolo.data.market_name import DISTRACTOR
from kd_yolo.reid.data.sample import Sample


def train_notes(folder: Path, train: Sequence[Sample]) -> list[str]:
    """Notes on training crops.

    Raises:
        InputError: they show one person only.
    """
    counts = Counter(sample.identity for sample in train)
    if len(counts) < 2:
        raise InputError(
            f"the {len(train)} train images of {folder} show one identity ({next(iter(counts))}): a network learns to"
            " tell people apart from at least 2."
        )
    single = sum(count == 1 for count in counts.values())
    if not single:
        return []
    return [
        f"{single} of {len(counts)} train identities have one image: a batch repeats it, and only augmentation makes"
        " its positives differ."
    ]


def test_notes(
    folder: Path, train: Sequence[Sample], query: Sequence[Sample], gallery: Sequence[Sample], *, max_rank: int
) -> list[str]:
    """Notes on queries and gallery.

    Raises:
        InputError: no query has its identity in the gallery.
    """
    return [
        *_lost_notes(folder, query, gallery),
        *_camera_notes(query, gallery),
        *_overlap_notes(train, query, gallery),
        *_length_notes(gallery, max_rank),
    ]


test_notes.__test__ = False  # type: ignore[attr-defined]  # no test for pytest


def _lost_notes(folder: Path, query: Sequence[Sample], gallery: Sequence[Sample]) -> list[str]:
    """On queries whose identity is nowhere in the gallery."""
    known = {sample.identity for sample in gallery}
    asked = {sample.identity for sample in query}
    lost = sorted(asked - known)
    if not lost:
        return []
    found = f"{len(lost)} of {len(asked)} query identities ({first_few(lost, 3)}) are not in the gallery of {folder}"
    if len(lost) == len(asked):
        raise InputError(
            f"{found}: no query has anything to find. Give the gallery other images of the queries' people; both must"
            " number people alike."
        )
    count = sum(sample.identity in set(lost) for sample in query)
    return [f"{found}: {count} queries are skipped, as every protocol does."]


def _camera_notes(query: Sequence[Sample], gallery: Sequence[Sample]) -> list[str]:
    """On a single camera, or queries that only their own camera shows again."""
    cameras = {sample.camera for sample in (*query, *gallery)}
    if len(cameras) == 1:
        return [f"all images are of camera {cameras.pop()}: ranked by the protocol without cameras."]
    known = {sample.identity for sample in gallery}
    pairs = {(sample.identity, sample.camera) for sample in gallery}
    views = Counter(identity for identity, _ in pairs)
    own = sum(
        sample.identity in known and views[sample.identity] - ((sample.identity, sample.camera) in pairs) == 0
        for sample in query
    )
    if not own:
        return []
    return [
        f"{own} of {len(query)} queries have their identity in the gallery from their own camera only: the protocol"
        " with cameras skips them. test.cameras=false counts them."
    ]


def _overlap_notes(train: Sequence[Sample], query: Sequence[Sample], gallery: Sequence[Sample]) -> list[str]:
    """On people who are in both training and test."""
    known = {sample.identity for sample in train}
    asked = known & {sample.identity for sample in query}
    shown = known & {sample.identity for sample in gallery if sample.identity != DISTRACTOR} - asked
    if not asked | shown:
        return []
    return [
        f"{len(asked)} query and {len(shown)} more gallery identities are also in train: if they are the same people,"
        " test figures are too good."
    ]


def _length_notes(gallery: Sequence[Sample], max_rank: int) -> list[str]:
    if len(gallery) >= max_rank:
        return []
    return [
        f"the gallery has {len(gallery)} images, fewer than test.max_rank={max_rank}: the CMC curve is filled up with"
        " its last value."
    ]
