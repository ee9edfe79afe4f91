"""The index of a folder of crops: a table with one row per crop."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from kd_yolo.base.extras import require
from kd_yolo.base.files import write_bytes
from kd_yolo.search.crops.ledger import read_rows
from kd_yolo.search.frames.frame_types import COLUMNS

INDEX, CSV = "crops.parquet", "crops.csv"
ORDER = ("source", "frame", "file")


def write_index(folder: Path, *, csv: bool = False) -> Path:
    """Writes ``crops.parquet`` from all parts of a folder, by source and frame; it may have no lines.

    Args:
        folder: of the crops.
        csv: write ``crops.csv`` too.

    Raises:
        MissingDependencyError: polars is not installed.
    """
    polars = require("polars")
    table: Any = polars.DataFrame(list(read_rows(folder)), schema=COLUMNS).sort(ORDER)
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    if csv:
        write_bytes(folder / CSV, table.write_csv().encode())
    return write_bytes(folder / INDEX, buffer.getvalue())
