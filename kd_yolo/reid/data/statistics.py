"""The table that users of ReID data expect: identities, images and cameras of each subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from kd_yolo.reid.data.sample import Sample

COLUMNS = ("subset", "# ids", "# images", "# cameras")


@dataclass(frozen=True)
class Counts:
    """What a subset has; distractors count as one identity, as is usual."""

    identities: int
    images: int
    cameras: int


def count(samples: Sequence[Sample]) -> Counts:
    """Counts a subset."""
    return Counts(len({s.identity for s in samples}), len(samples), len({s.camera for s in samples}))


def as_table(subsets: Mapping[str, Sequence[Sample]], title: str | None = None) -> Table:
    """The table for the terminal.

    Args:
        subsets: crops by name.
        title: above the table.
    """
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == COLUMNS[0] else "right")
    for cells in _rows(subsets):
        table.add_row(*cells)
    return table


def as_markdown(subsets: Mapping[str, Sequence[Sample]]) -> str:
    """The table as Markdown."""
    lines = [COLUMNS, ("---", *("---:",) * 3), *_rows(subsets)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _rows(subsets: Mapping[str, Sequence[Sample]]) -> list[tuple[str, ...]]:
    found = {name: count(samples) for name, samples in subsets.items()}
    return [(name, f"{c.identities:,}", f"{c.images:,}", f"{c.cameras:,}") for name, c in found.items()]
