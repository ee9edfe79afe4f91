"""Sizes of the built-in data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class StreetPreset:
    """How much is drawn and how large.

    Args:
        name: as typed on the command line.
        width_px: image width.
        height_px: image height.
        images: images in train, val and test.
        identities: people in train, val and test; nobody is in two splits.
        cameras: cameras; every split sees all of them.
    """

    name: str
    width_px: int
    height_px: int
    images: tuple[int, int, int]
    identities: tuple[int, int, int]
    cameras: int

    def num_images(self, split: str) -> int:
        """Images in a split."""
        return self.images[SPLITS.index(split)]

    def identity_range(self, split: str) -> range:
        """Numbers of the people in a split."""
        place = SPLITS.index(split)
        start = sum(self.identities[:place])
        return range(start, start + self.identities[place])


P = TypeVar("P", StreetPreset, "DiagramPreset", "ShapesPreset", "CropsPreset", "ClipPreset")

_STREET = (
    StreetPreset("smoke", 160, 120, (12, 6, 6), (24, 12, 12), 4),
    StreetPreset("demo", 384, 288, (170, 40, 40), (80, 40, 40), 12),
    StreetPreset("bench", 512, 384, (2400, 400, 400), (400, 160, 160), 24),
)


def preset_names() -> list[str]:
    """All presets, the smallest first."""
    return [preset.name for preset in _STREET]


def get_preset(name: str) -> StreetPreset:
    """The preset of this name.

    Raises:
        ConfigError: no such preset.
    """
    return _find(_STREET, name)


@dataclass(frozen=True)
class DiagramPreset:
    """How many diagrams are drawn and how large.

    Args:
        name: as typed on the command line.
        width_px: image width.
        height_px: image height.
        images: images by split.
    """

    name: str
    width_px: int
    height_px: int
    images: dict[str, int]


_DIAGRAM = (
    DiagramPreset("smoke", 320, 240, {"train": 8, "val": 4}),
    DiagramPreset("demo", 640, 480, {"train": 120, "val": 40}),
    DiagramPreset("bench", 640, 480, {"train": 1200, "val": 300}),
)


def get_diagram_preset(name: str) -> DiagramPreset:
    """The preset of this name.

    Raises:
        ConfigError: no such preset.
    """
    return _find(_DIAGRAM, name)


@dataclass(frozen=True)
class ShapesPreset:
    """How many images of shapes are drawn and how large.

    Args:
        name: as typed on the command line.
        size_px: width and height.
        images: images by split.
    """

    name: str
    size_px: int
    images: dict[str, int]


_SHAPES = (
    ShapesPreset("smoke", 64, {"train": 12, "val": 6}),
    ShapesPreset("demo", 96, {"train": 400, "val": 150}),
    ShapesPreset("bench", 128, {"train": 4000, "val": 600}),
)


def get_shapes_preset(name: str) -> ShapesPreset:
    """The preset of this name.

    Raises:
        ConfigError: no such preset.
    """
    return _find(_SHAPES, name)


@dataclass(frozen=True)
class CropsPreset:
    """How many crops of people are drawn.

    Args:
        name: as typed on the command line.
        width_px: width of the scenes that they are cut from.
        height_px: height of the scenes.
        identities: people in train and test; nobody is in both.
        distractors: people in the gallery whom no query shows.
        cameras: cameras; everybody is seen by all of them.
        shots: crops of a person by a camera.
    """

    name: str
    width_px: int
    height_px: int
    identities: tuple[int, int]
    distractors: int
    cameras: int
    shots: int

    def identity_range(self, split: str) -> range:
        """Numbers of the people in "train", "test" or "distractors"."""
        train, test = self.identities
        starts = {"train": 0, "test": train, "distractors": train + test}
        sizes = {"train": train, "test": test, "distractors": self.distractors}
        return range(starts[split], starts[split] + sizes[split])


_CROPS = (
    CropsPreset("smoke", 256, 192, (8, 4), 4, 3, 2),
    CropsPreset("demo", 384, 288, (256, 48), 24, 6, 2),
    CropsPreset("bench", 384, 288, (320, 160), 60, 8, 3),
)


def get_crops_preset(name: str) -> CropsPreset:
    """The preset of this name.

    Raises:
        ConfigError: no such preset.
    """
    return _find(_CROPS, name)


@dataclass(frozen=True)
class ClipPreset:
    """How much film is drawn, of how many people.

    Args:
        name: as typed on the command line.
        width_px: image width.
        height_px: image height.
        cameras: cameras, each with a film of its own, all at the same time.
        frames: images in each film.
        fps: images in a second.
        people: people who walk from camera to camera; nobody of another set is among them.
    """

    name: str
    width_px: int
    height_px: int
    cameras: int
    frames: int
    fps: int
    people: int

    @property
    def identity_range(self) -> range:
        """Numbers of the people: beyond those of the other sets, before those of the posters."""
        return range(_CLIP_FIRST, _CLIP_FIRST + self.people)


_CLIP_FIRST = 200_000  # the first of a family
_CLIP = (
    ClipPreset("smoke", 192, 144, 2, 36, 4, 6),
    ClipPreset("demo", 384, 288, 3, 200, 10, 16),
    ClipPreset("bench", 512, 384, 4, 900, 10, 40),
)


def get_clip_preset(name: str) -> ClipPreset:
    """The preset of this name.

    Raises:
        ConfigError: no such preset.
    """
    return _find(_CLIP, name)


def _find(presets: Sequence[P], name: str) -> P:
    names = [preset.name for preset in presets]
    for preset in presets:
        if preset.name == name:
            return preset
    raise ConfigError(f"unknown preset '{name}'.{nearest(name, names)} Known: {', '.join(names)}.")
