"""One row per crop: where it comes from, and under which number and name the gallery has it."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.search.frames.frame_types import COLUMNS
from kd_yolo.search.frames.tables import table_from

Row = dict[str, Any]
GIVEN = {name: kind for name, kind in COLUMNS.items() if name != "file"}  # its own image is named by the key
OPTIONAL = ("file", "identity")
MAY_BE_NONE = ("seconds",)
WHERE = ("source", "frame", "x1", "y1", "x2", "y2")
KEY = re.compile(r"^[0-9a-f]{32}$")


def key_of(row: Mapping[str, Any]) -> str:
    """What a crop is told from others by: source, frame and box."""
    where = [str(row["source"]), *(int(row[name]) for name in WHERE[1:])]
    return hashlib.sha256(json.dumps(where).encode()).hexdigest()[:32]


def as_record(row: Mapping[str, Any]) -> Row:
    """A row as it is stored, but for its number.

    Args:
        row: the columns of :func:`kd_yolo.search.frames.frame_types.as_row`, and ``identity`` where it is known.

    Raises:
        InputError: a column is missing, unknown or of another type.
    """
    missing = [name for name in GIVEN if name not in row]
    unknown = [name for name in row if name not in GIVEN and name not in OPTIONAL]
    if missing or unknown:
        raise InputError(
            f"a crop's row lacks {', '.join(missing) or 'nothing'} and has unknown {', '.join(unknown) or 'nothing'}:"
            f" expected {', '.join(GIVEN)}, and identity where it is known."
        )
    record: Row = {}
    for name, kind in GIVEN.items():
        try:
            record[name] = None if row[name] is None and name in MAY_BE_NONE else kind(row[name])
        except (TypeError, ValueError):
            raise InputError(f"a crop's {name} is {row[name]!r}, expected {kind.__name__}.") from None
    identity = row.get("identity")
    return {**record, "identity": None if identity is None else str(identity), "key": key_of(record)}


def schema() -> dict[str, Any]:
    """Columns and types of a table of rows."""
    pl = require("polars")
    types = {str: pl.String, int: pl.Int64, float: pl.Float64}
    return {"place": pl.Int64, **{name: types[kind] for name, kind in GIVEN.items()}, "identity": pl.String,
            "key": pl.String}  # fmt: skip


def as_table(records: Sequence[Row], first_place: int) -> Any:
    """Rows as a polars table, numbered from ``first_place``."""
    lines = [{"place": place, **record} for place, record in enumerate(records, first_place)]
    return require("polars").DataFrame(lines, schema=schema(), orient="row")


def to_bytes(table: Any) -> bytes:
    """A table as a parquet file."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Any:
    """A table from a parquet file.

    Raises:
        ValueError: not such a table.
    """
    table = table_from(data)
    if dict(table.schema) != schema():
        raise ValueError(f"columns {', '.join(table.columns)[:200]}")
    if any(table[name].null_count() for name in ("place", *GIVEN, "key") if name not in MAY_BE_NONE):
        raise ValueError("values are missing")
    if not all(KEY.match(key) for key in table["key"]):
        raise ValueError("a key is no name of an image")
    return table
