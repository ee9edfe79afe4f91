"""The rows of a sensitivity analysis as they are measured: one that was cut off goes on behind its last whole row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.fingerprint import file_hash
from kd_yolo.base.lock import is_held
from kd_yolo.base.reading import read_text
from kd_yolo.config.prune import PruneSettings

ROWS = "measured.jsonl"
MAX_BYTES = 16 << 20
WHOLE = "the whole network"


class Measured:
    """The scores of networks with one unit cut, by the unit's name; each is on disk when it is known.

    Args:
        folder: of the analysis; None keeps nothing.
        settings: of the analysis; scores that were measured with others do not count.
    """

    def __init__(self, folder: Path | None, settings: PruneSettings) -> None:
        self.file = None if folder is None else folder / ROWS
        self.header = header_of(settings)
        self.scores: dict[str, tuple[str, float]] = {}
        if self.file is not None and _first_line(self.file) == self.header:
            self.scores = _read_scores(self.file)

    def add(self, unit: str, metric: str, score: float) -> None:
        """Notes a score."""
        self.scores[unit] = metric, score
        if self.file is not None:
            rows = [self.header, *({"unit": k, "metric": m, "score": s} for k, (m, s) in self.scores.items())]
            write_bytes(self.file, "".join(json.dumps(row) + "\n" for row in rows).encode())


def header_of(settings: PruneSettings) -> dict[str, Any]:
    """What decides over the scores, as JSON has it."""
    values = {"settings": settings.model_dump(mode="json"), "weights": file_hash(settings.model)}
    return dict(json.loads(json.dumps(values)))


def find_unfinished(first: Path, settings: PruneSettings) -> Path | None:
    """The folder, ``first`` or ``first-2`` and so on, of an analysis with these settings that was cut off.

    One that another process is at work on is passed over.
    """
    header, folder, count = header_of(settings), first, 1
    while folder.is_dir():
        if _first_line(folder / ROWS) == header and not is_held(folder):
            return folder
        count += 1
        folder = first.with_name(f"{first.name}-{count}")
    return None


def _first_line(file: Path) -> Any:
    try:
        return json.loads(read_text(file, limit=MAX_BYTES).partition("\n")[0])
    except (InputError, ValueError, RecursionError):
        return None


def _read_scores(file: Path) -> dict[str, tuple[str, float]]:
    scores = {}
    for line in read_text(file, limit=MAX_BYTES).splitlines()[1:]:
        try:
            row = json.loads(line)
            scores[str(row["unit"])] = str(row["metric"]), float(row["score"])
        except (ValueError, KeyError, TypeError, RecursionError):
            break  # what follows is measured again
    return scores
