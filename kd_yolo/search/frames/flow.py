"""Work side by side: each stage in a thread of its own, a bounded queue to the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

from kd_yolo.search.frames.records import Frame, People
from kd_yolo.search.networks.detector import PersonDetector

T = TypeVar("T")
U = TypeVar("U")
BATCH_BYTES = 256 << 20  # a batch is closed before it holds more; an image that is larger goes alone
TICK_S = 0.1
LEAVE_S = 15.0  # a stream that is waited for gives up after 10
_END = object()


@dataclass(frozen=True)
class _Failed:
    error: BaseException


def stage(items: Iterable[T], work: Callable[[T], U], *, depth: int = 2) -> Generator[U, None, None]:
    """Applies ``work`` to items in a thread, ahead of the caller.

    The thread starts with the first result that is asked for. It ends, and ``items`` is closed in it, when they are
    used up, when something fails, or when the caller stops (also by Ctrl-C).

    Args:
        items: used by that thread alone.
        work: one item at a time, in order.
        depth: results that may wait; with one in the making, ``depth + 1`` are held.

    Raises:
        BaseException: whatever ``items`` or ``work`` raised, after the results before it.
    """
    queue: Queue[Any] = Queue(maxsize=depth)
    stopped = Event()
    thread = Thread(target=_run, args=(items, work, queue, stopped), daemon=True)
    thread.start()
    try:
        while (got := queue.get()) is not _END:
            if isinstance(got, _Failed):
                raise got.error
            yield got
    finally:
        stopped.set()
        with contextlib.suppress(Empty):
            queue.get_nowait()  # wakes a thread that waits for room
        thread.join(LEAVE_S)


def in_batches(frames: Iterable[Frame], size: int, bytes_max: int = BATCH_BYTES) -> Iterator[list[Frame]]:
    """Frames in lists of at most ``size``, and of at most ``bytes_max`` bytes of pixels but for single frames.

    ``frames`` is closed with the result.
    """
    batch: list[Frame] = []
    held = 0
    try:
        for frame in frames:
            if batch and (len(batch) == size or held + frame.picture_hw3.nbytes > bytes_max):
                yield batch
                batch, held = [], 0
            batch.append(frame)
            held += frame.picture_hw3.nbytes
        if batch:
            yield batch
    finally:
        _close(frames)


def people_of(
    frames: Iterable[Frame], detector: PersonDetector, conf: float, batch: int
) -> Iterator[tuple[Frame, People]]:
    """Frames with the people in them; the next batch is decoded while one is in the network.

    Args:
        frames: used by another thread.
        detector: used by the caller's thread.
        conf: least score.
        batch: frames in a forward pass.
    """
    with contextlib.closing(stage(in_batches(frames, batch), _same, depth=1)) as batches:
        for group in batches:
            found = detector.detect([frame.picture_hw3 for frame in group], conf)
            yield from zip(group, found, strict=True)


def _same(item: T) -> T:
    return item


def _run(items: Iterable[Any], work: Callable[[Any], Any], queue: Queue[Any], stopped: Event) -> None:
    last: Any = _END
    try:
        try:
            for item in items:
                if not _put(queue, work(item), stopped):
                    break
        finally:
            _close(items)
    except BaseException as error:  # the caller raises it
        last = _Failed(error)
    _put(queue, last, stopped)


def _put(queue: Queue[Any], item: Any, stopped: Event) -> bool:
    """Waits for room; False when nobody wants it any more."""
    while not stopped.is_set():
        with contextlib.suppress(Full):
            queue.put(item, timeout=TICK_S)
            return True
    return False


def _close(items: Iterable[Any]) -> None:
    close = getattr(items, "close", None)
    if callable(close):
        close()
