"""A process of the Ray engine: reads, detects, cuts, writes and embeds, with the local engine's functions.

All of it is done where the frames are, since a frame is a thousand times as large as what is found in it; only rows and
vectors travel. A task that is done again, after its process died, gives the same files under the same names.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd_yolo.base.errors import InputError, KDYoloError
from kd_yolo.search.crops.frame_steps import GROUP_FRAMES, cut_people, with_vectors
from kd_yolo.search.crops.ledger import FrameRecord, write_images
from kd_yolo.search.crops.networks import Networks
from kd_yolo.search.crops.ray.plan import Task
from kd_yolo.search.frames.sources import Reader
from kd_yolo.search.networks.batches import detect_people
from kd_yolo.search.settings import CropsConfig

TRIES, TRIES_MAX = ".tries", 4  # Ray itself would go on for ever with a file that makes a decoder crash


@dataclass(frozen=True)
class Job:
    """What all workers are told.

    Attributes:
        config: with the device that Ray gives a worker, and absolute paths.
        folder: of the crops, absolute.
        hashes: of the files of the detector and of the embedder.
        trust: load whatever it holds, code included.
        threads: of a worker's network on the CPU.
    """

    config: CropsConfig
    folder: Path
    hashes: tuple[str, str | None]
    trust: bool
    threads: int


@dataclass(frozen=True)
class Chunk:
    """Some results of a task.

    Attributes:
        chain, place: of the task.
        step: number of the chunk, from 0.
        records: of frames, in order.
        is_end: the last chunk of the task.
        ended, skipped, said: see :class:`Reader`; in the last chunk.
        error: why the run is to stop.
    """

    chain: int
    place: int
    step: int
    records: list[FrameRecord] = field(default_factory=list)
    is_end: bool = False
    ended: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    error: Exception | None = None


class Worker:
    """Does tasks; made by Ray in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, table: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Chunks of the tasks of a table, both pickled."""
        for task in table["task"]:
            for chunk in self.work(pickle.loads(task)):
                yield {"chunk": np.array([pickle.dumps(chunk)], dtype=object)}

    def work(self, task: Task) -> Iterator[Chunk]:
        """Does a task."""
        said: list[str] = []
        reader, step = Reader(self._job.config.stride, said.append), 0
        try:
            _check_folder(self._job.folder)
            _count_try(self._job.folder / TRIES / f"{task.chain}-{task.place}", task)
            for records in _in_groups(self._records(task, reader)):
                yield Chunk(task.chain, task.place, step, records)
                step += 1
        except (KDYoloError, OSError) as error:  # would be the same on another machine, so Ray need not try
            yield Chunk(task.chain, task.place, step, is_end=True, error=error)
            return
        yield Chunk(task.chain, task.place, step, [], True, reader.ended, reader.skipped, said)

    def _records(self, task: Task, reader: Reader) -> Iterator[FrameRecord]:
        config, folder = self._job.config, self._job.folder
        detector, embedder = self._networks.detector, self._networks.embedder
        numbers = {found.name: found.number for found in task.inputs}
        starts = {found.name: task.start for found in task.inputs}
        frames = reader.read(task.inputs, starts, task.end)
        records = (
            write_images(folder, cut_people(frame, people, config.rules), numbers[frame.source])
            for frame, people in detect_people(frames, detector, config.rules.conf, config.detector.batch)
        )
        return records if embedder is None else with_vectors(records, embedder, folder)

    @cached_property
    def _networks(self) -> Networks:
        """Opened with the first task, whose chunk can say what is wrong."""
        _prepare(self._job.threads)
        config = self._job.config
        networks = Networks.open(config, trust=self._job.trust)
        files = (config.detector.weights, config.embed)
        for file, told, found in zip(files, self._job.hashes, networks.hashes, strict=True):
            if told != found:
                raise InputError(
                    f"{file} is {told} where the run was started and {found} on {_machine()}: copy it there, or name a"
                    " file that all machines share."
                )
        return networks


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{_machine()} does not see {folder}: name a folder that all machines share.")


def _count_try(file: Path, task: Task) -> None:
    """Counts how often a task is begun, a letter each.

    Raises:
        KDYoloError: it was too often.
    """
    file.parent.mkdir(exist_ok=True)
    tries = file.stat().st_size if file.exists() else 0
    if tries >= TRIES_MAX:
        frames = f" from frame {task.start} on" if task.inputs[0].kind == "video" else f" and {len(task.inputs)} files"
        raise KDYoloError(
            f"{tries} workers died at {task.inputs[0].name}{frames}. What is done is kept. Fewer --workers need less"
            " memory; if one file makes them crash, --engine local says which."
        )
    with file.open("ab") as stream:
        stream.write(b"x")


def _prepare(threads: int) -> None:
    import os

    from kd_yolo.yolo.guard import prepare_process

    os.environ["OMP_NUM_THREADS"] = str(threads)
    prepare_process()


def _machine() -> str:
    import platform

    return platform.node()


def _in_groups(records: Iterable[FrameRecord]) -> Iterator[list[FrameRecord]]:
    group: list[FrameRecord] = []
    for record in records:
        group.append(record)
        if len(group) == GROUP_FRAMES:
            yield group
            group = []
    if group:
        yield group
