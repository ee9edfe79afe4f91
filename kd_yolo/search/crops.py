"""A folder of crops: people found in a source, cut out and listed; a run that was stopped goes on."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.config.search import CropsConfig
from kd_yolo.errors import InputError
from kd_yolo.search.crops_index import write_index
from kd_yolo.search.cut import cut
from kd_yolo.search.detector import PersonDetector
from kd_yolo.search.extras import require
from kd_yolo.search.flow import people_of, stage
from kd_yolo.search.gallery_lock import locked
from kd_yolo.search.ledger import Ledger, Seen, Totals, read_numbers
from kd_yolo.search.records import Frame, People
from kd_yolo.search.sources import Input, Reader, find_inputs

Say = Callable[[str], None]
SAY_S = 5.0
VERSION = 1  # raise it whenever the same settings give other crops
FREE = {"device", "batch", "weights"}  # of the detector; the hash tells the weights


@dataclass(frozen=True)
class CropsReport:
    """What a run made of a source.

    Attributes:
        folder: ``crops/``, ``crops.parquet`` and what is needed to go on.
        totals: of the folder, earlier runs included.
        frames: read by this run.
        seconds: that it took, from the first frame asked for.
        skipped: inputs that could not be read, with the reason.
    """

    folder: Path
    totals: Totals
    frames: int
    seconds: float
    skipped: tuple[str, ...]

    def lines(self) -> list[str]:
        """What happened, for the user."""
        totals, rate = self.totals, self.frames / max(self.seconds, 1e-9)
        earlier = totals.frames - self.frames
        lines = [
            f"{self.frames:,} frames in {self.seconds:.1f} s ({rate:.1f} a second)"
            + (f", {earlier:,} in earlier runs" if earlier else ""),
            f"{totals.people:,} people seen, {totals.crops:,} crops",
        ]
        if totals.rejected:
            parts = ", ".join(f"{count:,} {reason}" for reason, count in totals.rejected.most_common())
            lines.append(f"left out by the rules: {parts}")
        if not totals.people:
            lines.append("no person found: the index is empty; a lower --conf or a larger --imgsz finds more")
        if self.skipped:
            lines.append(f"warning: {len(self.skipped):,} inputs could not be read")
        return lines


def write_crops(
    source: str, config: CropsConfig, folder: Path, say: Say = print, *, csv: bool = False, trust: bool = False
) -> CropsReport:
    """Cuts the people out of a source.

    Detection and cutting run beside decoding and beside writing. What is done lasts from time to time; started again
    with the same settings, a run goes on after the last frame that does, with no crop twice and none missing. So it
    takes pictures that have been added to a folder since.

    Args:
        source: see :data:`kd_yolo.search.sources.KINDS`.
        config: detector, rules, stride and camera.
        folder: of the results, new or of an earlier run.
        say: takes lines for the user.
        csv: write ``crops.csv`` beside ``crops.parquet``.
        trust: load whatever the weights hold, code included.

    Raises:
        ConfigError: the folder holds other settings, or the class of people is unknown.
        InputError: nothing there, nothing that can be read, or weights that cannot be used.
        MissingDependencyError: polars is not installed.
    """
    require("polars")
    inputs = find_inputs(source, camera=config.camera, known=read_numbers(folder), leave_out=folder)
    detector = PersonDetector.open(config.detector, trust=trust)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, exclusive=True, wait_s=1):
        ledger = Ledger.open(folder, settings_of(source, inputs, config, detector.hash), inputs)
        left = [found for found in inputs if ledger.lacks(found)]
        if ledger.totals.frames:
            say(f"going on: {ledger.totals.frames:,} frames are done, {len(left):,} of {len(inputs):,} inputs are left")
        try:
            return _Run(config, detector, ledger, say).run(source, left)
        finally:  # a stream is ended by Ctrl-C
            if ledger.totals.frames:
                write_index(folder, csv=csv)


def settings_of(source: str, inputs: list[Input], config: CropsConfig, weights: str) -> dict[str, Any]:
    """What decides the crops of a folder, flat.

    Args:
        source: as it was typed; a file or folder counts by its absolute path.
        inputs: of the source.
        config: see :class:`CropsConfig`.
        weights: hash of the detector's file.
    """
    is_file = inputs[0].kind != "live"
    detector = {key: value for key, value in config.detector.model_dump(mode="json").items() if key not in FREE}
    return {
        "version": VERSION, "source": str(Path(source).expanduser().absolute()) if is_file else source,
        "weights": weights, **detector, **config.rules.model_dump(mode="json"), "stride": config.stride,
        "camera": config.camera,
    }  # fmt: skip


@dataclass
class _Run:
    config: CropsConfig
    detector: PersonDetector
    ledger: Ledger
    say: Say

    def run(self, source: str, inputs: list[Input]) -> CropsReport:
        reader, begun, before = Reader(self.config.stride, self.say), time.monotonic(), self.ledger.totals.frames
        try:
            with contextlib.closing(stage(self._people(reader, inputs), self._cut, depth=16)) as seen:
                self._write(seen)
            for name in reader.ended:
                self.ledger.finish(name)
        finally:  # after Ctrl-C and errors too
            self.ledger.commit()
        frames = self.ledger.totals.frames - before
        if reader.skipped and not frames and (not before or inputs[0].kind == "live"):
            raise InputError(f"nothing of {source} can be read. {reader.skipped[0]}")
        return CropsReport(
            self.ledger.folder, self.ledger.totals, frames, time.monotonic() - begun, tuple(reader.skipped)
        )

    def _people(self, reader: Reader, inputs: list[Input]) -> Iterator[tuple[Frame, People]]:
        frames = reader.read(inputs, self.ledger.done)
        return people_of(frames, self.detector, self.config.rules.conf, self.config.detector.batch)

    def _cut(self, found: tuple[Frame, People]) -> Seen:
        frame, people = found
        rejected: Counter[str] = Counter()
        crops = cut(frame, people, self.config.rules, rejected)
        return Seen(frame.source, frame.index, len(people.boxes_xyxy_m4), crops, rejected)

    def _write(self, found: Iterator[Seen]) -> None:
        begun = said = time.monotonic()
        num_frames = num_crops = 0
        last: str | None = None
        for seen in found:
            if last is not None and seen.source != last:
                self.ledger.finish(last)
            last = seen.source
            self.ledger.add(seen)
            num_frames, num_crops, now = num_frames + 1, num_crops + len(seen.crops), time.monotonic()
            if now - said > SAY_S:
                said = now
                rate = num_frames / (now - begun)
                self.say(
                    f"{num_frames:,} frames, {rate:.1f} a second, {num_crops:,} crops; at {seen.source} {seen.index}"
                )
