"""Query images that are byte for byte in the gallery or in training: their rank says nothing of a network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from kd_yolo.base.fingerprint import content_hash
from kd_yolo.reid.data.sample import Sample

_HEAD_BYTES = 2048  # read of each file of the same size; the whole only where these are equal


def copy_notes(train: Sequence[Sample], query: Sequence[Sample], gallery: Sequence[Sample]) -> list[str]:
    """Notes with the numbers of copies.

    Args:
        train: training crops.
        query: to look for.
        gallery: to be found.
    """
    notes = []
    found = num_copies(query, gallery)
    if found:
        notes.append(
            f"warning: {found} of {len(query)} query images are byte-for-byte copies of gallery images: each finds"
            " itself, so figures are too good. Remove them (the protocol with cameras leaves out only those of the"
            " query's own camera)."
        )
    found = num_copies(query, train)
    if found:
        notes.append(
            f"warning: {found} of {len(query)} query images are byte-for-byte copies of train images: figures are"
            " those of people that the network was trained on."
        )
    return notes


def num_copies(samples: Sequence[Sample], others: Sequence[Sample]) -> int:
    """How many images have a file with the same bytes among others."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for sample in others:
        by_size[file_size(sample.path)].append(sample.path)
    by_size.pop(-1, None)
    wanted = [sample.path for sample in samples if file_size(sample.path) in by_size]
    sizes = {file_size(path) for path in wanted}
    candidates = [path for size in sizes for path in by_size[size]]
    heads = _digests(candidates, _HEAD_BYTES)
    close = [path for path in wanted if content_hash(path, _HEAD_BYTES) in heads]
    if not close:
        return 0
    close_heads = _digests(close, _HEAD_BYTES)
    whole = _digests((path for path in candidates if content_hash(path, _HEAD_BYTES) in close_heads), None)
    return sum(content_hash(path, None) in whole for path in close)


def file_size(path: Path) -> int:
    """Bytes of a regular file; -1 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except (OSError, ValueError):  # a name that is too long, or that holds a NUL
        return -1


def _digests(paths: Iterable[Path], count: int | None) -> set[bytes]:
    return {content_hash(path, count) for path in paths}
