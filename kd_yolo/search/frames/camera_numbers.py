"""Numbers of cameras and sequences: from names where they say one, else in order, and the same when a run goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.data.market_name import parse_market_name

CAMERA = re.compile(r"(?:^|[^a-z])cam(?:era)?[-_ .]?0*(\d{1,6})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class InputNumber:
    """What tells the crops of an input from those of others.

    Attributes:
        camera: from 1; 0 where a name says so (``cam0.mp4``).
        sequence: of the camera, from 1: a video, a stream, or the images of a folder.
        image: of an image in its sequence, from 0; 0 for a video.
    """

    camera: int
    sequence: int
    image: int


def number_inputs(
    groups: Mapping[str, str], camera: int | None = None, known: Mapping[str, InputNumber] | None = None
) -> dict[str, InputNumber]:
    """Numbers of all inputs.

    The camera is ``camera``; else the one that a name says (``0002_c1s1_000451_03.jpg`` of Market-1501; ``cam1.mp4``,
    ``camera-02/x.jpg``); else each video and each folder of images is a camera, by the smallest free number.

    Args:
        groups: for each input the group that it belongs to: its folder for an image, itself for a video.
        camera: for all of them.
        known: numbers given earlier; they stay, and inputs that are new get others.
    """
    numbers = dict(known or {})
    named = {name: camera_in_name(name) if camera is None else camera for name in groups}
    taken = {number.camera for number in numbers.values()} | {found for found in named.values() if found is not None}
    camera_of_group = {groups[name]: number.camera for name, number in numbers.items() if named.get(name, 0) is None}
    taken_numbers = _TakenNumbers.of(numbers, groups)
    for name, group in groups.items():
        if name not in numbers:
            told = named[name]
            found = (
                told
                if told is not None
                else camera_of_group[group]
                if group in camera_of_group
                else _smallest_free(taken)
            )
            if named[name] is None:
                camera_of_group[group] = found
            taken.add(found)
            numbers[name] = taken_numbers.next(group, found)
    return numbers


@dataclass(frozen=True)
class _TakenNumbers:
    """What is taken: the sequence of each group and camera, and the next image of each camera and sequence."""

    sequences: dict[tuple[str, int], int]
    images: dict[tuple[int, int], int]
    last: dict[int, int]

    @classmethod
    def of(cls, numbers: Mapping[str, InputNumber], groups: Mapping[str, str]) -> _TakenNumbers:
        taken_numbers = cls({}, {}, {})
        for name, number in numbers.items():
            key = (number.camera, number.sequence)
            taken_numbers.images[key] = max(taken_numbers.images.get(key, 0), number.image + 1)
            taken_numbers.last[number.camera] = max(taken_numbers.last.get(number.camera, 0), number.sequence)
            if name in groups:
                taken_numbers.sequences[groups[name], number.camera] = number.sequence
        return taken_numbers

    def next(self, group: str, camera: int) -> InputNumber:
        if (group, camera) not in self.sequences:
            self.last[camera] = self.last.get(camera, 0) + 1
            self.sequences[group, camera] = self.last[camera]
        sequence = self.sequences[group, camera]
        image = self.images.get((camera, sequence), 0)
        self.images[camera, sequence] = image + 1
        return InputNumber(camera, sequence, image)


def camera_in_name(name: str) -> int | None:
    """The camera that the name of a file or of its folder says."""
    path = Path(name)
    market = parse_market_name(path.name)
    if market:
        return market.camera
    found = CAMERA.search(path.stem) or CAMERA.search(path.parent.name)
    return int(found.group(1)) if found else None


def _smallest_free(taken: set[int]) -> int:
    return next(number for number in range(1, len(taken) + 2) if number not in taken)
