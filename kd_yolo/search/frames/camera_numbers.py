"""Numbers of cameras and sequences: from names where they say one, else in order, and the same when a run goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.data.market_name import parse_market_name

CAMERA = re.compile(r"(?:^|[^a-z])cam(?:era)?[-_ .]?0*(\d{1,6})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """What tells the crops of an input from those of others.

    Attributes:
        camera: from 1; 0 where a name says so (``cam0.mp4``).
        sequence: of the camera, from 1: a video, a stream, or the images of a folder.
        image: of an image in its sequence, from 0; 0 for a video.
    """

    camera: int
    sequence: int
    image: int


def number_all(
    places: Mapping[str, str], camera: int | None = None, known: Mapping[str, Number] | None = None
) -> dict[str, Number]:
    """Numbers of all inputs.

    The camera is ``camera``; else the one that a name says (``0002_c1s1_000451_03.jpg`` of Market-1501; ``cam1.mp4``,
    ``camera-02/x.jpg``); else each video and each folder of images is a camera, by the smallest free number.

    Args:
        places: for each input the place that it belongs to: its folder for an image, itself for a video.
        camera: for all of them.
        known: numbers given earlier; they stay, and inputs that are new get others.
    """
    numbers = dict(known or {})
    said = {name: camera_said(name) if camera is None else camera for name in places}
    taken = {number.camera for number in numbers.values()} | {found for found in said.values() if found is not None}
    of_place = {places[name]: number.camera for name, number in numbers.items() if said.get(name, 0) is None}
    rows = _Rows.of(numbers, places)
    for name, place in places.items():
        if name not in numbers:
            told = said[name]
            found = told if told is not None else of_place[place] if place in of_place else _free(taken)
            if said[name] is None:
                of_place[place] = found
            taken.add(found)
            numbers[name] = rows.next(place, found)
    return numbers


@dataclass(frozen=True)
class _Rows:
    """What is taken: the sequence of each place and camera, and the next image of each camera and sequence."""

    sequences: dict[tuple[str, int], int]
    images: dict[tuple[int, int], int]
    last: dict[int, int]

    @classmethod
    def of(cls, numbers: Mapping[str, Number], places: Mapping[str, str]) -> _Rows:
        rows = cls({}, {}, {})
        for name, number in numbers.items():
            key = (number.camera, number.sequence)
            rows.images[key] = max(rows.images.get(key, 0), number.image + 1)
            rows.last[number.camera] = max(rows.last.get(number.camera, 0), number.sequence)
            if name in places:
                rows.sequences[places[name], number.camera] = number.sequence
        return rows

    def next(self, place: str, camera: int) -> Number:
        if (place, camera) not in self.sequences:
            self.last[camera] = self.last.get(camera, 0) + 1
            self.sequences[place, camera] = self.last[camera]
        sequence = self.sequences[place, camera]
        image = self.images.get((camera, sequence), 0)
        self.images[camera, sequence] = image + 1
        return Number(camera, sequence, image)


def camera_said(name: str) -> int | None:
    """The camera that the name of a file or of its folder says."""
    path = Path(name)
    market = parse_market_name(path.name)
    if market:
        return market.camera
    found = CAMERA.search(path.stem) or CAMERA.search(path.parent.name)
    return int(found.group(1)) if found else None


def _free(taken: set[int]) -> int:
    return next(number for number in range(1, len(taken) + 2) if number not in taken)
