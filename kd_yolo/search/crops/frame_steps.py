"""What every engine does with frames: find people, cut them out, and embed their crops."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kd_yolo.search.crops.ledger import Note, Seen
from kd_yolo.search.frames.crop_files import read_crop
from kd_yolo.search.frames.cut import cut
from kd_yolo.search.frames.records import Frame, People
from kd_yolo.search.networks.embedder import BATCH, Embedder
from kd_yolo.search.settings import CropRules

Say = Callable[[str], None]
SAY_S = 5.0
GROUP_FRAMES = 64  # frames that wait at most until their crops fill a batch of the embedder


def look(frame: Frame, people: People, rules: CropRules) -> Seen:
    """Cuts people out of a frame and counts those who are left out."""
    rejected: Counter[str] = Counter()
    crops = cut(frame, people, rules, rejected)
    return Seen(frame.source, frame.index, len(people.boxes_xyxy_m4), crops, rejected)


def embedded(notes: Iterable[Note], embedder: Embedder, folder: Path) -> Iterator[Note]:
    """The notes with vectors: of the files, as ``kd-yolo search index`` would make them.

    Args:
        notes: of frames whose crops are written.
        embedder: the ReID network.
        folder: of the crops.
    """
    group: list[Note] = []
    for note in notes:
        group.append(note)
        if len(group) == GROUP_FRAMES or sum(len(one.rows) for one in group) >= BATCH:
            yield from _embed(group, embedder, folder)
            group = []
    yield from _embed(group, embedder, folder)


def _embed(group: Sequence[Note], embedder: Embedder, folder: Path) -> Iterator[Note]:
    vectors_nd = embedder.embed([read_crop(folder / row["file"]) for note in group for row in note.rows])
    start = 0
    for note in group:
        yield replace(note, vectors_nd=vectors_nd[start : start + len(note.rows)])
        start += len(note.rows)


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

    def add(self, note: Note) -> None:
        """Counts a frame."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = self._said = now
        self._frames, self._crops = self._frames + 1, self._crops + len(note.rows)
        if now - self._said > SAY_S:
            self._said = now
            rate = self._frames / max(now - self._begun, 1e-9)
            self.say(
                f"{self._frames:,} frames, {rate:.1f} a second, {self._crops:,} crops; at {note.source}"
                f" {note.next_frame - 1}"
            )
