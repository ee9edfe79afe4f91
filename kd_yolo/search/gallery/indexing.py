"""Puts a folder of crops into a gallery: reads, embeds and adds portion after portion; an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.changed_images import find_changed
from kd_yolo.search.gallery.crop_sources import CropSource, LoadedCrop, load_all
from kd_yolo.search.gallery.forget import CropFilter, forget
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.rows import Row
from kd_yolo.search.networks.embedder import BATCH, Embedder

Say = Callable[[str], None]
PORTION = 8 * BATCH  # crops added at once, and lost at most when the run is interrupted


@dataclass
class Indexed:
    """What became of a folder of crops.

    Attributes:
        added: new crops.
        known: crops that were in already.
        changed: images that had changed since they were indexed; their crops have been replaced.
        skipped: why others could not be read.
    """

    added: int = 0
    known: int = 0
    changed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def index_crops(gallery: Gallery, embedder: Embedder, sources: Sequence[CropSource], say: Say = print) -> Indexed:
    """Adds crops to a gallery; an image that has changed under its name replaces what was there of it.

    Args:
        gallery: of this network.
        embedder: the network.
        sources: the crops.
        say: takes lines for the user.

    Raises:
        InputError: another network made the gallery; no crop can be read.
    """
    gallery.check_model(embedder)
    changed = find_changed(gallery, sources)
    if changed.places:
        forget(gallery.folder, CropFilter(places=changed.places))
        gallery.refresh()
    inside = gallery.has([source.row for source in sources])
    fresh = [source for source, is_in in zip(sources, inside, strict=True) if not is_in]
    report = Indexed(known=len(sources) - len(fresh), changed=changed.names)
    done = report.known
    for portion in _portions(fresh, report.skipped):
        vectors_nd = vectors_of(embedder, portion)
        added = gallery.add(vectors_nd, [crop.row for crop in portion], [crop.jpeg for crop in portion])
        report.added, report.known = report.added + added, report.known + len(portion) - added
        done += len(portion)
        say(f"{done:,} of {len(sources):,} crops are in the gallery")
    if fresh and len(report.skipped) == len(fresh):
        raise InputError(f"none of {len(fresh)} new crops can be read: {report.skipped[0]}")
    return report


def embed_crops(embedder: Embedder, sources: Sequence[CropSource]) -> tuple[Floats, list[Row]]:
    """Vectors (N,D) and rows of the crops that can be read.

    Raises:
        InputError: none can.
    """
    skipped: list[str] = []
    found = [(vectors_of(embedder, portion), [crop.row for crop in portion]) for portion in _portions(sources, skipped)]
    if not found:
        raise InputError(f"none of {len(sources)} crops can be read{': ' + skipped[0] if skipped else ''}.")
    return np.concatenate([vectors_nd for vectors_nd, _ in found]), [row for _, rows in found for row in rows]


def vectors_of(embedder: Embedder, crops: Sequence[LoadedCrop]) -> Floats:
    """Vectors (N,D) of crops; those that this network made before, and that are beside the crops, are taken.

    Raises:
        InputError: those are damaged.
    """
    stored = [crop.source.vector(embedder.hash) for crop in crops]
    places = [place for place, vector_d in enumerate(stored) if vector_d is None]
    fresh_nd = embedder.embed([crops[place].image_hw3 for place in places])
    vectors_nd = np.empty((len(crops), embedder.dim), np.float32)
    for place, vector_d in enumerate(stored):
        if vector_d is not None:
            if vector_d.shape != (embedder.dim,):
                raise InputError(
                    f"{crops[place].source.path} has a vector of shape {vector_d.shape} beside it, expected"
                    f" {embedder.dim} values: remove the folder vectors/ of its crops."
                )
            vectors_nd[place] = vector_d
    vectors_nd[places] = fresh_nd
    return vectors_nd


def _portions(sources: Sequence[CropSource], skipped: list[str]) -> Iterator[list[LoadedCrop]]:
    """Read crops in portions; the next batch is read while one is used."""
    crops, portion = load_all(sources, skipped), list[LoadedCrop]()
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(_take, crops)
        while batch := ahead.result():
            ahead = reader.submit(_take, crops)
            portion += batch
            if len(portion) >= PORTION:
                yield portion
                portion = []
    if portion:
        yield portion


def _take(crops: Iterator[LoadedCrop]) -> list[LoadedCrop]:
    return list(islice(crops, BATCH))
