"""A gallery: crops of people with their embeddings and where they come from, in one folder that can be searched."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.lock import LOCK, locked
from kd_yolo.base.reading import first_few
from kd_yolo.base.registry import nearest
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.files import KINDS, MANIFEST, Manifest, Threshold, is_gallery, read_manifest, write_manifest
from kd_yolo.search.gallery.index import Places, SearchIndex, is_exact, open_index
from kd_yolo.search.gallery.lock import writing
from kd_yolo.search.gallery.rows import Row, as_record, as_table, key_of
from kd_yolo.search.gallery.shards import BLOCK, append, image_name
from kd_yolo.search.gallery.state import GalleryState
from kd_yolo.search.gallery.vectors import check_vectors, unit_blocks

JPEG = b"\xff\xd8\xff"


class Model(Protocol):
    """What made vectors: an :class:`~kd_yolo.search.networks.embedder.Embedder`."""

    @property
    def hash(self) -> str:
        """Of its file."""

    @property
    def dim(self) -> int:
        """Length of its vectors."""


class Gallery:
    """An open gallery. It can be shared by threads, and other processes may add to the folder meanwhile.

    Crops are numbered by *places*, which are never given to another crop. Make one with :meth:`create` or
    :meth:`open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._guard = threading.RLock()
        with locked(folder, exclusive=False):
            self._state = GalleryState(folder, read_manifest(folder))

    @classmethod
    def create(cls, folder: Path, embedder_hash: str, dim: int, kind: str = "flat", weights: str = "") -> Gallery:
        """Makes an empty gallery, or opens the one of the same network that is there.

        Args:
            folder: a new or empty folder, or a gallery.
            embedder_hash: of the network that makes the vectors.
            dim: length of a vector.
            kind: of the index: ``flat`` (exact), ``ivf`` or ``hnsw``.
            weights: where the network is, for later queries.

        Raises:
            ConfigError: unknown kind, or a folder that holds something else.
            InputError: a damaged gallery, or one of another network or kind.
        """
        if kind not in KINDS:
            raise ConfigError(f"unknown kind of index '{kind}'.{nearest(kind, KINDS)} Known: {', '.join(KINDS)}.")
        _check_empty(folder)  # nothing, a lock neither, goes into other folders
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, exclusive=True):
            if not is_gallery(folder):
                _check_empty(folder, with_lock=True)
                write_manifest(folder, Manifest.model_validate(
                    {"model": embedder_hash, "dim": dim, "kind": kind, "weights": weights}
                ))  # fmt: skip
        gallery = cls.open(folder)
        gallery._check_hash(embedder_hash, dim)
        if gallery.kind != kind:
            raise ConfigError(f"{folder} has an index of kind {gallery.kind}: leave out --kind, or name a new folder.")
        return gallery

    @classmethod
    def open(cls, folder: Path) -> Gallery:
        """Opens a gallery; its vectors are read at the first query.

        Raises:
            InputError: no gallery, or a damaged one.
        """
        return cls(Path(folder))

    def __len__(self) -> int:
        return len(self._state)

    @property
    def kind(self) -> str:
        """Of the index."""
        return self._state.manifest.kind

    @property
    def dim(self) -> int:
        """Length D of a vector."""
        return self._state.manifest.dim

    @property
    def weights(self) -> str:
        """Where the network was when the gallery was made; may be empty."""
        return self._state.manifest.weights

    @property
    def threshold(self) -> Threshold | None:
        """The calibrated distance below which two crops count as one person."""
        return self._state.manifest.threshold

    def set_threshold(self, threshold: Threshold) -> None:
        """Keeps a calibrated threshold."""
        with self._guard, writing(self.folder) as manifest:
            self._state.follow(write_manifest(self.folder, manifest.model_copy(update={"threshold": threshold})))

    def check_model(self, embedder: Model) -> None:
        """Checks that vectors of this network can be compared with those of the gallery.

        Raises:
            InputError: another network made the gallery.
        """
        self._check_hash(embedder.hash, embedder.dim)

    def refresh(self) -> None:
        """Takes over what other processes added or took out; :meth:`query` does so itself.

        Raises:
            InputError: a damaged gallery.
        """
        with self._guard:
            if self._state.is_stale():
                with locked(self.folder, exclusive=False):
                    self._state.follow(read_manifest(self.folder))

    def has(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Which of these crops, by source, frame and box, are in already."""
        with self._guard:
            return [key_of(row) in self._state.keys for row in rows]

    def add(self, vectors_nd: Floats, rows: Sequence[Mapping[str, Any]], images: Sequence[bytes]) -> int:
        """Adds crops; those that are in already are passed over. All of them are in afterwards, or on failure none.

        Args:
            vectors_nd: embeddings (N,D); they are brought to unit length.
            rows: one per crop, see :func:`kd_yolo.search.frames.frame_types.as_row`, with ``identity`` where known.
            images: the crops as JPEG.

        Returns:
            How many were new.

        Raises:
            InputError: NaN, a vector of zeros or of another length, a row or an image that is none.
        """
        check_vectors(vectors_nd, self.dim)
        if not len(vectors_nd) == len(rows) == len(images):
            raise InputError(f"{len(vectors_nd)} vectors, {len(rows)} rows, {len(images)} images: one of each.")
        for row, image in zip(rows, images, strict=True):
            if not image.startswith(JPEG):
                raise InputError(f"the crop of {row.get('source')} is no JPEG (first bytes {image[:8]!r}).")
        records = [as_record(row) for row in rows]
        with self._guard, writing(self.folder) as manifest:
            self._state.follow(manifest)
            fresh = self._fresh(records)
            if not fresh:
                return 0
            self._write_images({records[place]["key"]: images[place] for place in fresh})
            table = as_table([records[place] for place in fresh], manifest.next_place)
            blocks = unit_blocks(vectors_nd, np.array(fresh, np.int64), BLOCK)
            self._state.follow(write_manifest(self.folder, append(self.folder, manifest, blocks, table)))
        return len(fresh)

    def build(self) -> None:
        """Writes the index of an IVF or HNSW gallery, so that opening it need not make it; nothing for an exact one."""
        with self._guard, writing(self.folder) as manifest:
            self._state.follow(manifest)
            saved = manifest.index
            if is_exact(manifest) or (saved is not None and saved.count == manifest.count):
                return
            self._state.index = index = open_index(self.folder, manifest)
            update = {"index": index.save(self.folder, manifest.new_name), "next_name": manifest.next_name + 1}
            self._state.follow(write_manifest(self.folder, manifest.model_copy(update=update)))

    def query(self, vectors_qd: Floats, top: int) -> tuple[Places, Floats]:
        """The nearest crops.

        Args:
            vectors_qd: embeddings (Q,D).
            top: how many, 1 or more.

        Returns:
            Places (Q,top), the nearest first, -1 where there are no more, and cosine distances (Q,top), 0..2, infinite
            there.

        Raises:
            InputError: NaN, a vector of zeros or of another length; a damaged gallery.
            ConfigError: ``top`` below 1.
        """
        if top < 1:
            raise ConfigError(f"top={top}, expected 1 or more.")
        length_q = check_vectors(vectors_qd, self.dim)
        unit_qd = np.divide(vectors_qd, length_q[:, None], dtype=np.float32)
        with self._guard:
            self.refresh()
            positions_qk, distances_qk = self._open_index().search(unit_qd, top)
            return self._state.places_of(positions_qk), distances_qk

    def rows(self, places: Sequence[int] | Places) -> list[Row]:
        """The lines of crops, with ``place``, ``file`` (from the gallery's folder) and ``identity``, which may be None.

        Raises:
            InputError: a place that is not (any more) in the gallery.
        """
        with self._guard:
            return self._state.rows(self._state.positions(places))

    def table(self) -> Any:
        """All rows as a polars table; ``key`` names the image."""
        return self._state.table

    def vectors(self, places: Sequence[int] | Places) -> Floats:
        """The unit vectors (K,D) of crops.

        Raises:
            InputError: a place that is not (any more) in the gallery; a damaged gallery.
        """
        with self._guard:
            index = self._open_index()
            return index.vectors(self._state.positions(places))

    def image_path(self, place: int) -> Path:
        """The image of a crop; never a file outside the gallery.

        Raises:
            InputError: a place that is not (any more) in the gallery, or an image that is a link to elsewhere.
        """
        path = self.folder / str(self.rows([place])[0]["file"])
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(
                f"{path} leads out of the gallery, to {path.resolve()}: it is not opened. Remove the link."
            )
        return path

    def _open_index(self) -> SearchIndex:
        if self._state.index is None:
            with locked(self.folder, exclusive=False):
                self._state.follow(read_manifest(self.folder))
                self._state.index = open_index(self.folder, self._state.manifest)
        return self._state.index

    def _check_hash(self, model: str, dim: int) -> None:
        own = self._state.manifest
        if (model, dim) != (own.model, own.dim):
            made_by = f" ({own.weights})" if own.weights else ""
            raise InputError(
                f"{self.folder} was made by the network {own.model}{made_by} with {own.dim} values a crop, this is the"
                f" network {model} with {dim}: their vectors cannot be compared. Use that network, or make a gallery in"
                " another folder."
            )

    def _fresh(self, records: Sequence[Row]) -> list[int]:
        """Which records are new, each key once."""
        seen: dict[str, int] = {}
        for place, record in enumerate(records):
            if record["key"] not in self._state.keys:
                seen.setdefault(record["key"], place)
        return list(seen.values())

    def _write_images(self, images: Mapping[str, bytes]) -> None:
        for key, image in images.items():
            write_bytes(self.folder / image_name(key), image, sync=False)


def _check_empty(folder: Path, *, with_lock: bool = False) -> None:
    """Refuses a folder with something in it but what a killed beginning leaves.

    One with a lock is left to be judged by who holds it: another process may make a gallery there at this moment.
    """
    if not folder.exists():
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    others = [name for name in names if name != LOCK and not name.startswith(f".{MANIFEST}.")]
    if others and (with_lock or not ((folder / LOCK).exists() or is_gallery(folder))):
        raise ConfigError(
            f"{folder} is not empty and no gallery (it has {first_few(others, 3)}): it is left alone. Name another"
            " folder."
        )
