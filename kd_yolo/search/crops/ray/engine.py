"""Crops by many processes, on many machines where there is a cluster: Ray Data deals out tasks to a pool of actors.

This process keeps the ledger: it takes what workers found in the order of each video, so a run goes on after a kill
like a local one. Ray gives the task of a worker that died to another.
"""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import KDYoloError
from kd_yolo.search.crops.frame_steps import Progress, Say
from kd_yolo.search.crops.ledger import Ledger
from kd_yolo.search.crops.networks import Networks
from kd_yolo.search.crops.ray.cluster import Share, cluster, share_of
from kd_yolo.search.crops.ray.plan import Task, plan
from kd_yolo.search.crops.ray.worker import TRIES, Chunk, Job, Worker
from kd_yolo.search.frames.sources import Input
from kd_yolo.search.settings import CropsConfig


@dataclass
class RayEngine:
    """Cuts the people out of files.

    Attributes:
        config: see :class:`CropsConfig`.
        networks: say which files they are from; workers must find the same.
        ledger: of the results.
        say: takes lines for the user.
    """

    config: CropsConfig
    networks: Networks
    ledger: Ledger
    say: Say

    def run(self, inputs: list[Input]) -> list[str]:
        """Works through the inputs.

        Returns:
            Why inputs were skipped, a line each.

        Raises:
            KDYoloError: a worker said why it cannot go on, or a task ended one worker after the other.
        """
        if not inputs:
            return []
        with cluster(self.config) as ray:
            share = share_of(ray, self.config)
            tasks = plan(inputs, self.ledger.done, self.config, share.workers)
            self.say(f"Ray: {len(tasks):,} tasks for {share.workers} workers")
            shutil.rmtree(self.ledger.folder / TRIES, ignore_errors=True)
            try:
                return self._take(in_order(_deal(ray, tasks, self._job(share), share)), tasks)
            except ray.exceptions.RayError as error:
                last = str(error).strip().splitlines()[-1]
                raise KDYoloError(
                    f"a worker of Ray failed: {last}. What is done is kept; --engine local shows the error itself."
                ) from error
            finally:
                shutil.rmtree(self.ledger.folder / TRIES, ignore_errors=True)

    def _job(self, share: Share) -> Job:
        update = {"device": "cuda" if share.gpus else "cpu", "weights": str(self.networks.detector.file)}
        detector = self.config.detector.model_copy(update=update)
        embed = self.config.embed and str(Path(self.config.embed).expanduser().absolute())
        config = self.config.model_copy(update={"detector": detector, "embed": embed})
        return Job(config, self.ledger.folder.absolute(), self.networks.hashes, self.networks.trust, share.threads)

    def _take(self, chunks: Iterable[Chunk], tasks: list[Task]) -> list[str]:
        """Writes down what workers found."""
        last = {task.chain: task.place for task in tasks}
        progress, skipped, said = Progress(self.say), list[str](), set[str]()
        for chunk in chunks:
            if chunk.error is not None:
                raise chunk.error
            for record in chunk.records:
                self.ledger.add(record)
                progress.add(record)
            for line in chunk.said:
                if line not in said:  # ranges of a video may say the same
                    self.say(line)
            said.update(chunk.said)
            skipped += chunk.skipped
            for name in chunk.ended if chunk.place == last[chunk.chain] else ():
                self.ledger.finish(name)
        if skipped:
            self.ledger.commit()
            self.ledger.sweep()  # later ranges of what was skipped may have left crops
        return skipped


@dataclass
class _Chain:
    """What has come of a chain, and what comes next."""

    due: tuple[int, int] = (0, 0)
    is_over: bool = False
    waiting: dict[tuple[int, int], Chunk] = field(default_factory=dict)


def in_order(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Chunks in the order of their chain.

    A range of a video that could not be read ends it: what later ranges found is dropped, as there would be a gap.

    Args:
        chunks: as they come, those of different chains and tasks mixed; an error passes at once.
    """
    chains: dict[int, _Chain] = {}
    for chunk in chunks:
        if chunk.error is not None:
            yield chunk
        chain = chains.setdefault(chunk.chain, _Chain())
        if chain.is_over:
            continue
        chain.waiting[chunk.place, chunk.step] = chunk
        while (ready := chain.waiting.pop(chain.due, None)) is not None:
            yield ready
            place, step = chain.due
            chain.due = (place + 1, 0) if ready.is_end else (place, step + 1)
            if ready.skipped:
                chain.is_over, chain.waiting = True, {}


def _deal(ray: Any, tasks: list[Task], job: Job, share: Share) -> Iterator[Chunk]:
    """Has tasks done; the chunks as they come."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"task": pickle.dumps(task)} for task in tasks]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    context = dataset.context
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = 1  # a chunk goes on its way as soon as it is there
    size = min(share.workers, len(tasks))
    dataset = dataset.map_batches(
        Worker, fn_constructor_args=(job,), batch_size=1, batch_format="numpy", num_cpus=1, num_gpus=share.gpus,
        compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
    )  # fmt: skip
    for row in dataset.iter_rows():
        yield pickle.loads(row["chunk"])
