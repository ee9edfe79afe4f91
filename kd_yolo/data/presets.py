"""Sizes of the built-in data."""

from __future__ import annotations

from dataclasses import dataclass

from kd_yolo.errors import ConfigError
from kd_yolo.registry import nearest

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class StreetPreset:
    """How much is drawn and how large.

    Args:
        name: as typed on the command line.
        width_px: picture width.
        height_px: picture height.
        images: pictures in train, val and test.
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
        """Pictures in a split."""
        return self.images[SPLITS.index(split)]

    def identity_range(self, split: str) -> range:
        """Numbers of the people in a split."""
        place = SPLITS.index(split)
        start = sum(self.identities[:place])
        return range(start, start + self.identities[place])


_ALL = (
    StreetPreset("smoke", 160, 120, (12, 6, 6), (24, 12, 12), 4),
    StreetPreset("demo", 384, 288, (170, 40, 40), (80, 40, 40), 12),
    StreetPreset("bench", 512, 384, (2400, 400, 400), (400, 160, 160), 24),
)


def preset_names() -> list[str]:
    """All presets, the smallest first."""
    return [preset.name for preset in _ALL]


def get_preset(name: str) -> StreetPreset:
    """The preset of this name.

    Raises:
        ConfigError: no such preset.
    """
    for preset in _ALL:
        if preset.name == name:
            return preset
    raise ConfigError(f"unknown preset '{name}'.{nearest(name, preset_names())} Known: {', '.join(preset_names())}.")
