"""Frames through the detector in batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from kd_yolo.search.frames.frame_types import Frame, People
from kd_yolo.search.frames.threads import close, map_in_thread
from kd_yolo.search.networks.detector import PersonDetector

T = TypeVar("T")
BATCH_BYTES = 256 << 20  # a batch is closed before it holds more; an image that is larger goes alone


def in_batches(frames: Iterable[Frame], size: int, bytes_max: int = BATCH_BYTES) -> Iterator[list[Frame]]:
    """Frames in lists of at most ``size``, and of at most ``bytes_max`` bytes of pixels but for single frames.

    ``frames`` is closed with the result.
    """
    batch: list[Frame] = []
    held = 0
    try:
        for frame in frames:
            if batch and (len(batch) == size or held + frame.image_hw3.nbytes > bytes_max):
                yield batch
                batch, held = [], 0
            batch.append(frame)
            held += frame.image_hw3.nbytes
        if batch:
            yield batch
    finally:
        close(frames)


def detect_people(
    frames: Iterable[Frame], detector: PersonDetector, conf: float, batch: int
) -> Iterator[tuple[Frame, People]]:
    """Frames with the people in them; the next batch is decoded while one is in the network.

    Args:
        frames: used by another thread.
        detector: used by the caller's thread.
        conf: least score.
        batch: frames in a forward pass.
    """
    with contextlib.closing(map_in_thread(in_batches(frames, batch), _same, depth=1)) as batches:
        for group in batches:
            found = detector.detect([frame.image_hw3 for frame in group], conf)
            yield from zip(group, found, strict=True)


def _same(item: T) -> T:
    return item
