"""What every engine does with frames: find people, cut them out, and embed their crops."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_yolo.search.crops.ledger import FrameCrops, FrameRecord
from kd_yolo.search.frames.crop_files import read_crop
from kd_yolo.search.frames.cut import cut
from kd_yolo.search.frames.frame_types import Frame, People
from kd_yolo.search.networks.embedder import BATCH, Embedder
from kd_yolo.search.settings import CropRules

Say = Callable[[str], None]
SAY_S = 5.0
GROUP_FRAMES = 64  # frames that wait at most until their crops fill a batch of the embedder


def cut_people(frame: Frame, people: People, rules: CropRules) -> FrameCrops:
    """Cuts people out of a frame and counts those who are left out."""
    rejected: Counter[str] = Counter()
    crops = cut(frame, people, rules, rejected)
    return FrameCrops(frame.source, frame.index, len(people.boxes_xyxy_m4), crops, rejected)


def with_vectors(records: Iterable[FrameRecord], embedder: Embedder, folder: Path) -> Iterator[FrameRecord]:
    """The records with vectors: of the files, as ``kd-yolo search index`` would make them.

    Args:
        records: of frames whose crops are written.
        embedder: the ReID network.
        folder: of the crops.
    """
    group: list[FrameRecord] = []
    for record in records:
        group.append(record)
        if len(group) == GROUP_FRAMES or sum(len(one.rows) for one in group) >= BATCH:
            yield from _with_vectors(group, embedder, folder)
            group = []
    yield from _with_vectors(group, embedder, folder)


def _with_vectors(group: Sequence[FrameRecord], embedder: Embedder, folder: Path) -> Iterator[FrameRecord]:
    vectors_nd = embedder.embed([read_crop(folder / row["file"]) for record in group for row in record.rows])
    start = 0
    for record in group:
        yield replace(record, vectors_nd=vectors_nd[start : start + len(record.rows)])
        start += len(record.rows)


@dataclass
class Progress:
    """Says now and then how far a run is.

    Attributes:
        say: takes lines for the user.
    """

    say: Say
    _begun: float | None = None
    _said: float = 0.0
    _frames: int = 0
    _crops: int = 0

    def add(self, record: FrameRecord) -> None:
        """Counts a frame."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = self._said = now
        self._frames, self._crops = self._frames + 1, self._crops + len(record.rows)
        if now - self._said > SAY_S:
            self._said = now
            rate = self._frames / max(now - self._begun, 1e-9)
            self.say(
                f"{self._frames:,} frames, {rate:.1f} a second, {self._crops:,} crops; at {record.source}"
                f" {record.next_frame - 1}"
            )
