"""Crops in this process: a thread decodes, one detects and cuts, one writes and embeds."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from kd_yolo.search.crops.ledger import Ledger, Note, Seen
from kd_yolo.search.crops.work import Progress, Say, embedded, look
from kd_yolo.search.frames.flow import stage
from kd_yolo.search.frames.records import Frame, People
from kd_yolo.search.frames.sources import Input, Reader
from kd_yolo.search.networks.batches import people_of
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
            contextlib.closing(stage(self._people(reader, inputs), self._look, depth=16)) as seen,
            contextlib.closing(self._notes(seen)) as notes,
        ):
            self._add(notes)
        for name in reader.ended:
            self.ledger.finish(name)
        return reader.skipped

    def _people(self, reader: Reader, inputs: list[Input]) -> Iterator[tuple[Frame, People]]:
        frames = reader.read(inputs, self.ledger.done)
        return people_of(frames, self.detector, self.config.rules.conf, self.config.detector.batch)

    def _look(self, found: tuple[Frame, People]) -> Seen:
        return look(*found, self.config.rules)

    def _notes(self, seen: Iterator[Seen]) -> Generator[Note, None, None]:
        if self.embedder is None:
            yield from map(self.ledger.write, seen)
            return
        with contextlib.closing(stage(seen, self.ledger.write, depth=16)) as notes:
            yield from embedded(notes, self.embedder, self.ledger.folder)

    def _add(self, notes: Iterator[Note]) -> None:
        progress, last = Progress(self.say), None
        for note in notes:
            if last is not None and note.source != last:
                self.ledger.finish(last)
            last = note.source
            self.ledger.add(note)
            progress.add(note)
