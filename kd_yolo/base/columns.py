"""Numbers by column: the tables that a run writes an epoch a row (``results.csv``, ``balance.csv``)."""

from __future__ import annotations

import csv
from pathlib import Path


def read_columns(path: Path) -> dict[str, list[float]]:
    """A CSV file of numbers as columns by name; a cell that is empty is NaN. Without a file there are no columns."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = list(rows[0]) if rows else []
    return {key.strip(): [float(row[key] or "nan") for row in rows] for key in keys}
