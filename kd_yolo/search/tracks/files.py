"""What is written about the tracks of a video, and read again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.base.files import write_image
from kd_yolo.base.reading import read_bytes, read_json_value, shown
from kd_yolo.data.folder import Record
from kd_yolo.data.market_name import market_stem
from kd_yolo.search.frames.frame_types import COLUMNS, Crop, Floats, as_row
from kd_yolo.search.frames.tables import MAX_BYTES, read_table
from kd_yolo.search.tracks.clustering import Span
from kd_yolo.search.tracks.mot import Ints, Sightings, mot_text

GENERATOR = "tracks"
MOT, TABLE, CROPS, CROPS_TABLE, VECTORS = "tracks.txt", "tracks.parquet", "crops", "crops.parquet", "vectors.npz"
_SCHEMA = {
    "source": str, "camera": int, "frame": int, "seconds": float, "track": int,
    "x1": float, "y1": float, "x2": float, "y2": float, "score": float,
}  # fmt: skip
_FACTS: dict[str, type] = {
    "source": str, "camera": int, "num_frames": int, "fps": float, "whole": bool, "network": str,
}  # fmt: skip


@dataclass(frozen=True)
class Tracks:
    """The tracks of a video.

    Attributes:
        source: the video.
        camera: its number.
        num_frames: frames that were looked at.
        fps: frames in a second; 0 where the video does not say.
        whole: the video was followed to its end.
        sightings: every box of every track; frames from 1.
        seconds_n: time of each, nan where the video does not say.
        scores_n: of each.
        tracks_t: numbers of the tracks that have a vector.
        vectors_td: their mean embedding, of unit length.
        network: hash of the network that made them; "" for none.
    """

    source: str
    camera: int
    num_frames: int
    fps: float
    whole: bool
    sightings: Sightings
    seconds_n: Floats
    scores_n: Floats
    tracks_t: Ints
    vectors_td: Floats
    network: str

    def numbers(self) -> list[int]:
        """All tracks, in order."""
        return [int(number) for number in np.unique(self.sightings.ids_n)]

    def span(self, track: int) -> Span:
        """When a track was seen."""
        frames = self.sightings.frames_n[self.sightings.ids_n == track]
        return Span(self.camera, int(frames.min()), int(frames.max()))


def write_tracks(folder: Path, tracks: Tracks, crops: Sequence[Crop], key: Record) -> Record:
    """Fills an empty folder and returns its header.

    Args:
        folder: gets MOTChallenge's text, a table of all boxes, the crops with a table, and the vectors.
        tracks: what was found.
        crops: the best of each track.
        key: what decides over the tracks, for :func:`kd_yolo.data.folder.find_made`.

    Raises:
        MissingDependencyError: polars is not installed.
    """
    (folder / MOT).write_text(mot_text(tracks.sightings, tracks.scores_n))
    _write_table(folder / TABLE, list(_rows(tracks)), _SCHEMA)
    (folder / CROPS).mkdir()
    _write_table(folder / CROPS_TABLE, [_write_crop(folder, crop) for crop in crops], COLUMNS)
    np.savez(folder / VECTORS, tracks=tracks.tracks_t, vectors=tracks.vectors_td)
    facts = {name: getattr(tracks, name) for name in ("source", "camera", "num_frames", "fps", "whole", "network")}
    return {"generator": GENERATOR, **facts, "key": key, "images": {CROPS: len(crops)}}


def _write_table(file: Path, rows: list[dict[str, Any]], schema: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    require("polars").DataFrame(rows, schema=schema, orient="row").write_parquet(buffer)
    file.write_bytes(buffer.getvalue())


def _rows(tracks: Tracks) -> Iterator[dict[str, Any]]:
    found = tracks.sightings
    for i in range(len(found)):
        seconds = float(tracks.seconds_n[i])
        yield {
            "source": tracks.source, "camera": tracks.camera, "frame": int(found.frames_n[i]) - 1,
            "seconds": None if np.isnan(seconds) else seconds, "track": int(found.ids_n[i]),
            **dict(zip(("x1", "y1", "x2", "y2"), found.boxes_xyxy_n4[i].tolist(), strict=True)),
            "score": float(tracks.scores_n[i]),
        }  # fmt: skip


def _write_crop(folder: Path, crop: Crop) -> dict[str, Any]:
    """Market-1501's name with the track for the person."""
    name = f"{CROPS}/{market_stem(crop.track, crop.camera, crop.index)}.jpg"
    write_image(folder / name, crop.image_hw3[..., ::-1], sync=False)
    return as_row(crop, name)


def read_tracks(folder: Path) -> Tracks:
    """Reads what :func:`write_tracks` wrote.

    Raises:
        InputError: something else is in the folder, or something is missing.
    """
    try:
        header = read_json_value(folder / "meta.json", what="header of tracks")
        table = read_table(folder / TABLE, list(_SCHEMA)).to_dict(as_series=False)
        tracks_t, vectors_td = _read_vectors(folder / VECTORS)
        facts = {name: _typed(header[name], kind) for name, kind in _FACTS.items()}
        frames = np.array(table["frame"], np.int64) + 1
        boxes = np.array([table[name] for name in ("x1", "y1", "x2", "y2")], np.float64).T
        tracks = Tracks(
            **facts, sightings=Sightings.of(frames, table["track"], boxes),
            seconds_n=np.array(table["seconds"], np.float32), scores_n=np.array(table["score"], np.float32),
            tracks_t=tracks_t, vectors_td=vectors_td,
        )  # fmt: skip
        if not np.isin(tracks_t, tracks.sightings.ids_n).all():
            raise ValueError("vectors of tracks that are not there")
    except (InputError, OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        why = str(error)[:300]
        raise InputError(f"{folder} does not hold the tracks of a video ({why}): run kd-yolo search track.") from None
    return tracks


def _typed(value: Any, kind: type) -> Any:
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"{shown(value)} is no {kind.__name__}")
    return value


def _read_vectors(file: Path) -> tuple[Ints, Floats]:
    """Numbers and vectors of tracks; numpy's archive is not compressed, so that it cannot hold more than its size.

    Raises:
        ValueError: something else.
    """
    data = io.BytesIO(read_bytes(file, limit=MAX_BYTES, what="file of vectors"))
    try:
        with zipfile.ZipFile(data) as archive:
            packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0][:60]!r} is compressed")
        data.seek(0)
        with np.load(data, allow_pickle=False) as stored:
            tracks_t, vectors_td = np.asarray(stored["tracks"], np.int64), np.asarray(stored["vectors"], np.float32)
    except (zipfile.BadZipFile, EOFError, MemoryError, NotImplementedError, SyntaxError) as error:
        raise ValueError(f"{file.name}: {str(error) or type(error).__name__}") from None
    if tracks_t.ndim != 1 or vectors_td.ndim != 2 or len(tracks_t) != len(vectors_td):
        raise ValueError(f"{file.name}: shapes {tracks_t.shape} and {vectors_td.shape}")
    if not np.isfinite(vectors_td).all() or (len(vectors_td) and not np.linalg.norm(vectors_td, axis=1).all()):
        raise ValueError(f"{file.name}: vectors without a direction")
    return tracks_t, vectors_td
