"""Work side by side: each stage in a thread of its own, a bounded queue to the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")
TICK_S = 0.1
LEAVE_S = 15.0  # a stream that is waited for gives up after 10
_END = object()


@dataclass(frozen=True)
class _Failed:
    error: BaseException


def map_in_thread(items: Iterable[T], work: Callable[[T], U], *, depth: int = 2) -> Generator[U, None, None]:
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


def _run(items: Iterable[Any], work: Callable[[Any], Any], queue: Queue[Any], stopped: Event) -> None:
    last: Any = _END
    try:
        try:
            for item in items:
                if not _put(queue, work(item), stopped):
                    break
        finally:
            close(items)
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


def close(items: Iterable[Any]) -> None:
    """Closes a generator; other iterables stay as they are."""
    function = getattr(items, "close", None)
    if callable(function):
        function()
