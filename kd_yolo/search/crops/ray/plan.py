"""Divides inputs among workers: images by the dozen, long videos into ranges of frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kd_yolo.search.frames.sources import Input
from kd_yolo.search.frames.video import count_frames
from kd_yolo.search.settings import CropsConfig

RANGES_EACH = 3  # of all videos together, for each worker: a slow one holds up the others by a third at most
LEAST_FRAMES = 256  # that are searched in a range; frames before a range are decoded to count them
IMAGES = 64


@dataclass(frozen=True)
class Task:
    """What one worker does at a time.

    Attributes:
        chain: tasks of one are ready in the order of their ``place``: a video, or some images.
        place: in the chain, from 0.
        inputs: one video, or images.
        start, end: range of the video's frames; no ``end``: to the last one.
    """

    chain: int
    place: int
    inputs: tuple[Input, ...]
    start: int = 0
    end: int | None = None


def plan(inputs: Sequence[Input], done: Mapping[str, int], config: CropsConfig, workers: int) -> list[Task]:
    """Tasks for all inputs, in their order.

    Ranges are so long that each worker gets a few of them. With many videos that is a whole video each, and nothing is
    decoded twice. They begin where a batch of an undivided video would.

    Args:
        inputs: images and videos.
        done: frames of videos that need not be read again.
        config: stride and batch.
        workers: how many.
    """
    starts = {found.name: max(0, done.get(found.name, 0)) for found in inputs}
    counts = {found.name: count_frames(found.name) for found in inputs if found.kind == "video"}
    total = sum(max(0, count - starts[name]) for name, count in counts.items())
    unit = config.detector.batch * config.stride
    size = _up(max(LEAST_FRAMES * config.stride, total / (RANGES_EACH * workers)), unit)
    tasks: list[Task] = []
    for chain, group in enumerate(_groups(inputs, int(_up(IMAGES, config.detector.batch)))):
        if group[0].kind == "image":
            tasks.append(Task(chain, 0, group))
            continue
        start, count = starts[group[0].name], counts[group[0].name]
        cuts: list[int | None] = [start, *range(start + size, count, size), None]
        tasks += [Task(chain, place, group, first or 0, end) for place, (first, end) in enumerate(pairwise(cuts))]
    return tasks


def _up(least: float, unit: int) -> int:
    """The first whole multiple."""
    return math.ceil(least / unit) * unit


def _groups(inputs: Iterable[Input], size: int) -> Iterator[tuple[Input, ...]]:
    """Neighbouring images together, videos alone."""
    group: list[Input] = []
    for found in inputs:
        if group and (found.kind == "video" or len(group) == size):
            yield tuple(group)
            group = []
        if found.kind == "video":
            yield (found,)
        else:
            group.append(found)
    if group:
        yield tuple(group)
