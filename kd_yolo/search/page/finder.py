"""The search behind the page: the people in an image, the crops of a gallery nearest to one of them, their frames."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.search.frames.cut import cut
from kd_yolo.search.frames.frame_types import Crop, Frame, ImageHW3
from kd_yolo.search.settings import CropRules

if TYPE_CHECKING:
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder

WHOLE = -1


@dataclass(frozen=True)
class Match:
    """A crop of the gallery that resembles the person asked for.

    Attributes:
        place: its number in the gallery.
        distance: 1 - cosine of the two embeddings: 0 to 2, small is alike.
        row: what the gallery says of the crop (:func:`kd_yolo.search.frames.frame_types.as_row`).
        crop_hw3: RGB; None where the gallery has lost the file.
    """

    place: int
    distance: float
    row: dict[str, Any]
    crop_hw3: ImageHW3 | None


@dataclass(frozen=True)
class Finder:
    """Finds people; safe to call from several threads, which wait for each other.

    Attributes:
        detector: finds the people in an image.
        embedder: the network that the gallery was built with.
        gallery: it follows what other processes add and take out.
        rules: which boxes count, and how their crops are cut.
    """

    detector: PersonDetector
    embedder: Embedder
    gallery: Gallery
    rules: CropRules = field(default_factory=CropRules)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def people(self, image_hw3: ImageHW3) -> list[Crop]:
        """Everybody in an image that a crop can be cut of, from left to right.

        Args:
            image_hw3: BGR, upright.
        """
        with self._lock:
            people = self.detector.detect([image_hw3], self.rules.conf)[0]
        return sorted(cut(Frame("", 0, None, 1, image_hw3), people, self.rules), key=lambda crop: crop.box_xyxy)

    def matches(self, crop_hw3: ImageHW3, top: int) -> list[Match]:
        """The crops of the gallery nearest to one, best first; none where the gallery is empty.

        Args:
            crop_hw3: RGB.
            top: how many at most.

        Raises:
            InputError: a damaged gallery.
        """
        with self._lock:
            places_qk, distances_qk = self.gallery.query(self.embedder.embed([crop_hw3]), top)
            kept = [(int(p), float(d)) for p, d in zip(places_qk[0], distances_qk[0], strict=True) if p >= 0]
            rows = self.gallery.rows([place for place, _ in kept])
            crops = [_read_crop(self.gallery.image_path(place)) for place, _ in kept]
        return [Match(*each, row, crop) for each, row, crop in zip(kept, rows, crops, strict=True)]

    def is_kept(self, match: Match) -> bool:
        """Whether a match is still in the gallery: it may have been forgotten since it was found."""
        try:
            self.gallery.refresh()
            return bool(self.gallery.rows([match.place]))
        except InputError:
            return False


def person_at(people: Sequence[Crop], x: float, y: float) -> int | None:
    """Number of the smallest box around a point in pixels of the image; None where there is none."""
    around = [
        i for i, p in enumerate(people) if p.box_xyxy[0] <= x < p.box_xyxy[2] and p.box_xyxy[1] <= y < p.box_xyxy[3]
    ]
    return min(around, key=lambda i: _area(people[i].box_xyxy), default=None)


def _area(box_xyxy: tuple[int, int, int, int]) -> int:
    x1, y1, x2, y2 = box_xyxy
    return (x2 - x1) * (y2 - y1)


def _read_crop(file: Path) -> ImageHW3 | None:
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    return None if image is None else np.ascontiguousarray(image[..., ::-1])
