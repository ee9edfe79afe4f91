"""Stages side by side: order, bounds, errors, and threads that end when nobody wants their results."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.search.frames.frame_types import Frame
from kd_yolo.search.frames.threads import map_in_thread
from kd_yolo.search.networks.batches import detect_people, in_batches
from tests.search.crops_helpers import BrightDetector, walk


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def frames(count: int, nbytes: int = 300) -> Iterator[Frame]:
    for index in range(count):
        yield Frame("v", index, None, 1, np.zeros((nbytes // 3, 1, 3), np.uint8))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(1, 5))
def test_results_are_those_of_a_loop(count: int, depth: int) -> None:
    assert list(map_in_thread(range(count), lambda x: x * x, depth=depth)) == [x * x for x in range(count)]


def test_stages_chain() -> None:
    chain = map_in_thread(map_in_thread(range(50), lambda x: x + 1, depth=1), str, depth=3)
    assert list(chain) == [str(x + 1) for x in range(50)]


def test_the_queue_is_bounded() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for index in range(100):
            made.append(index)
            yield index

    running = map_in_thread(make(), lambda x: x, depth=2)
    assert next(running) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 2 + 1, "one taken, two that wait, one in the making"
    running.close()


def test_an_error_comes_after_the_results_before_it() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    running = map_in_thread(range(10), work, depth=1)
    assert [next(running) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(running)


def test_an_error_of_the_items_is_raised_and_crosses_stages() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    running = map_in_thread(map_in_thread(broken(), lambda x: x), lambda x: x)
    assert next(running) == 1
    with pytest.raises(OSError, match="unplugged"):
        next(running)


def test_a_caller_that_stops_closes_the_items() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    running = map_in_thread(map_in_thread(endless(), lambda x: x), lambda x: x)
    assert next(running) == 1
    running.close()
    assert closed.wait(5)


def test_an_error_while_closing_is_no_deadlock() -> None:
    class Items:
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

        def close(self) -> None:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        list(map_in_thread(Items(), lambda x: x, depth=1))


@settings(max_examples=50)
@given(st.integers(0, 30), st.integers(1, 7), st.integers(1, 2000))
def test_batches_hold_every_frame_once_within_bounds(count: int, size: int, bytes_max: int) -> None:
    batches = list(in_batches(frames(count), size, bytes_max))
    assert [frame.index for batch in batches for frame in batch] == list(range(count))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert all(len(batch) == 1 or sum(f.image_hw3.nbytes for f in batch) <= bytes_max for batch in batches)


def test_people_of_gives_each_frame_its_own_people() -> None:
    images = walk(11)
    source = (Frame("v", index, None, 1, image) for index, image in enumerate(images))
    detector = BrightDetector()
    for index, (frame, people) in enumerate(detect_people(source, detector, 0.4, 4)):  # type: ignore[arg-type]
        assert frame.index == index
        alone = detector.detect([images[index]], 0.4)[0]
        assert np.array_equal(people.boxes_xyxy_m4, alone.boxes_xyxy_m4)


def test_frames_are_decoded_while_the_network_works() -> None:
    decoded: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames(8):
            decoded.append(frame.index)
            yield frame

    running = detect_people(source(), BrightDetector(), 0.4, 2)  # type: ignore[arg-type]
    next(running)
    deadline = time.monotonic() + 5
    while len(decoded) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(decoded) >= 4, "the second batch, while the first is looked at"
    running.close()  # type: ignore[attr-defined]
