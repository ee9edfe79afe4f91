"""Crops in this process: a thread decodes, one detects and cuts, one writes and embeds."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from kd_yolo.search.crops.frame_steps import Progress, Say, cut_people, with_vectors
from kd_yolo.search.crops.ledger import FrameCrops, FrameRecord, Ledger
from kd_yolo.search.frames.frame_types import Frame, People
from kd_yolo.search.frames.sources import Input, Reader
from kd_yolo.search.frames.threads import map_in_thread
from kd_yolo.search.networks.batches import detect_people
from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.networks.embedder import Embedder
from kd_yolo.search.settings import CropsConfig


@dataclass
class LocalEngine:
    """Cuts the people out of inputs.

    Attributes:
        config: see :class:`CropsConfig`.
        detector: finds people.
        embedder: makes vectors of their crops; None: no vectors.
        ledger: of the results.
        say: takes lines for the user.
    """

    config: CropsConfig
    detector: PersonDetector
    embedder: Embedder | None
    ledger: Ledger
    say: Say

    def run(self, inputs: list[Input]) -> list[str]:
        """Works through the inputs.

        Returns:
            Why inputs were skipped, a line each.
        """
        reader = Reader(self.config.stride, self.say)
        with (
            contextlib.closing(map_in_thread(self._people(reader, inputs), self._cut_people, depth=16)) as frame_crops,
            contextlib.closing(self._records(frame_crops)) as records,
        ):
            self._add(records)
        for name in reader.ended:
            self.ledger.finish(name)
        return reader.skipped

    def _people(self, reader: Reader, inputs: list[Input]) -> Iterator[tuple[Frame, People]]:
        frames = reader.read(inputs, self.ledger.done)
        return detect_people(frames, self.detector, self.config.rules.conf, self.config.detector.batch)

    def _cut_people(self, found: tuple[Frame, People]) -> FrameCrops:
        return cut_people(*found, self.config.rules)

    def _records(self, frame_crops: Iterator[FrameCrops]) -> Generator[FrameRecord, None, None]:
        if self.embedder is None:
            yield from map(self.ledger.write, frame_crops)
            return
        with contextlib.closing(map_in_thread(frame_crops, self.ledger.write, depth=16)) as records:
            yield from with_vectors(records, self.embedder, self.ledger.folder)

    def _add(self, records: Iterator[FrameRecord]) -> None:
        progress, last = Progress(self.say), None
        for record in records:
            if last is not None and record.source != last:
                self.ledger.finish(last)
            last = record.source
            self.ledger.add(record)
            progress.add(record)
