"""Vectors beside crops: ``vectors/`` has a parquet file a part of the ledger, with the crop's file and its vector."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.base.files import write_bytes
from kd_yolo.base.reading import read_json_value
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.frames.tables import read_table

VECTORS = "vectors"
SETTINGS, NETWORK = "crops.json", "embed"  # where the ledger says which network it was


def write_vectors(
    folder: Path, part: int, rows: Sequence[Mapping[str, Any]], vectors: Iterable[Floats | None]
) -> Path | None:
    """Writes the vectors of a part; the part is not there yet, so nobody counts on them.

    Args:
        folder: of the crops.
        part: its number.
        rows: of its crops.
        vectors: of one frame after the other (N,D), all together one a row; None where they are not asked for.

    Returns:
        The file; None where there are no vectors.
    """
    found = [vectors_nd for vectors_nd in vectors if vectors_nd is not None and len(vectors_nd)]
    if not found:
        return None
    polars = require("polars")
    vectors_nd = np.concatenate(found)
    kind = polars.Array(polars.Float32, vectors_nd.shape[1])
    table = polars.DataFrame({"file": [row["file"] for row in rows]}).with_columns(
        polars.Series("vector", vectors_nd, dtype=kind)
    )
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return write_bytes(folder / VECTORS / f"{part:08d}.parquet", buffer.getvalue())


@dataclass
class StoredVectors:
    """The vectors beside crops, read part by part.

    Attributes:
        folder: of the crops.
        network: hash of the ReID network that made them.
        parts: for each crop's file the part that has its vector.
    """

    folder: Path
    network: str
    parts: Mapping[str, Path]
    _last: tuple[Path | None, dict[str, Floats]] = field(default=(None, {}), repr=False)

    @classmethod
    def open(cls, folder: Path) -> StoredVectors | None:
        """The vectors of a folder of crops; None where it has none.

        Raises:
            InputError: they are damaged.
        """
        files = sorted((folder / VECTORS).glob("[0-9]*.parquet"))
        network = _network(folder / SETTINGS)
        if network is None or not files:
            return None
        return cls(folder, network, {name: file for file in files for name in _read(file, ["file"])["file"]})

    def find(self, file: str) -> Floats | None:
        """The vector (D,) of a crop; None where there is none.

        Args:
            file: as in the index of the crops.

        Raises:
            InputError: the part is damaged.
        """
        part = self.parts.get(file)
        if part is None:
            return None
        if self._last[0] != part:
            self._last = (part, dict(_vectors(part)))
        return self._last[1][file]


def _vectors(part: Path) -> Iterator[tuple[str, Floats]]:
    table = _read(part, ["file", "vector"])
    try:
        vectors_nd = np.asarray(table["vector"].to_numpy(), np.float32)
    except (TypeError, ValueError) as error:
        raise _damaged(part, str(error)[:200]) from None
    if vectors_nd.ndim != 2 or not np.isfinite(vectors_nd).all():
        raise _damaged(part, f"vectors of shape {vectors_nd.shape}, expected finite ones (N,D)")
    yield from zip(table["file"], vectors_nd, strict=True)


def _network(file: Path) -> str | None:
    if not file.exists():
        return None
    try:
        found = read_json_value(file, what="settings of crops").get(NETWORK)
    except (InputError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({error}): run kd-yolo crops again, into another folder.") from None
    return None if found is None else str(found)


def _read(file: Path, columns: list[str]) -> Any:
    try:
        return read_table(file, columns)
    except (InputError, ValueError) as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, reason: str) -> InputError:
    return InputError(
        f"{file} is damaged ({reason}): remove the folder {file.parent}, and search index embeds the crops itself."
    )
