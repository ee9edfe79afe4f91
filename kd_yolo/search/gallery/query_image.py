"""Who is looked for: a crop of a person as it is, or a person of a whole image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.search.frames.crop_files import size_of
from kd_yolo.search.frames.cut import cut
from kd_yolo.search.frames.frame_types import Crop, Frame, ImageHW3, People
from kd_yolo.search.frames.images import read_bgr
from kd_yolo.search.settings import CropRules

TALL = 1.2  # height / width from which an image is taken for a crop: people stand
MOST_PX = 1_000_000  # and up to which size: cameras take more, crops are less


class Detector(Protocol):
    """Finds people: a :class:`kd_yolo.search.networks.detector.PersonDetector`."""

    def detect(self, images_bgr: list[ImageHW3], conf: float) -> list[People]:
        """The people in each image."""


def is_crop_shaped(path: Path) -> bool:
    """Whether an image may be a crop of one person by its width and height."""
    width, height = size_of(path)
    return height >= TALL * width and height * width <= MOST_PX


def person_in(
    path: Path, detector: Detector, nth: int | None, say: Callable[[str], None], rules: CropRules | None = None
) -> ImageHW3:
    """A crop (H,W,3), RGB, of a person in an image.

    Args:
        path: of the image.
        detector: finds people.
        nth: which one, the largest is 1; None: the largest, and a line says how to choose another.
        say: takes lines for the user.
        rules: which boxes count.

    Raises:
        InputError: no image; nobody in it.
        ConfigError: there are fewer people.
    """
    image_hw3, rules = read_bgr(path), rules or CropRules()
    seen = detector.detect([image_hw3], rules.conf)[0]
    people = sorted(cut(Frame("", 0, None, 1, image_hw3), seen, rules), key=_area, reverse=True)
    if not people:
        raise InputError(f"no person found in {path}: name a crop of a person, or search for all of it with --whole.")
    if nth is not None and nth > len(people):
        raise ConfigError(f"--nth {nth}: {path} has {len(people)} people, the largest is 1.")
    chosen = people[(nth or 1) - 1]
    x1, y1, x2, y2 = chosen.box_xyxy
    more = "; --nth 2 takes the next largest" if nth is None and len(people) > 1 else ""
    say(f"{path}: {len(people)} people found, number {nth or 1} is looked for (box {x1},{y1} to {x2},{y2}){more}")
    return chosen.image_hw3


def _area(crop: Crop) -> int:
    x1, y1, x2, y2 = crop.box_xyxy
    return (x2 - x1) * (y2 - y1)
