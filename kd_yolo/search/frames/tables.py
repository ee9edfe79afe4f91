"""Parquet files that a user or a stranger hands in: their size and rows are checked before they are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_yolo.base.extras import require
from kd_yolo.base.reading import read_bytes

MAX_BYTES = 4 << 30
MAX_ROWS = 20_000_000  # a kilobyte can stand for a billion equal rows


def read_table(file: Path, columns: Sequence[str] | None = None) -> Any:
    """A table from a parquet file.

    Args:
        file: a regular file.
        columns: only these; None: all.

    Raises:
        InputError: not a regular file, or too large.
        ValueError: no such table; says why in a line.
    """
    return table_from(read_bytes(file, limit=MAX_BYTES, what="table"), columns)


def table_from(data: bytes, columns: Sequence[str] | None = None) -> Any:
    """A table from the bytes of a parquet file.

    Raises:
        ValueError: no such table; says why in a line.
    """
    polars = require("polars")
    try:
        count = int(polars.scan_parquet(io.BytesIO(data)).select(polars.len()).collect().item())
        if count > MAX_ROWS:
            raise ValueError(f"{count:,} rows, expected at most {MAX_ROWS:,}")
        return polars.read_parquet(io.BytesIO(data), columns=None if columns is None else list(columns))
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # polars has a dozen kinds, and its panics are no Exception
        raise ValueError((str(error).strip() or type(error).__name__).splitlines()[0][:200]) from None
