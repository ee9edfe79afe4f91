"""What a reader of a layout gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_yolo.base.reading import first_few
from kd_yolo.data.spec import IMAGE_SUFFIXES

TRAIN, QUERY, GALLERY = SUBSETS = ("train", "query", "gallery")
MAX_NUMBER = 2**53  # of identities and cameras, which are ranked as 64-bit numbers


@dataclass(frozen=True)
class Sample:
    """One crop.

    Attributes:
        path: of the image.
        identity: number of the person; 0 is a distractor where Market-1501's names are used.
        camera: number of the camera; 0 for all where the data do not say.
    """

    path: Path
    identity: int
    camera: int


@dataclass(frozen=True)
class Listing:
    """The crops of a folder.

    Attributes:
        layout: what it was recognised as.
        subsets: crops by subset, "train", "query", "gallery"; those that the folder has, in a fixed order.
        notes: what was passed over.
        names: names of the identities where they are not numbers.
    """

    layout: str
    subsets: dict[str, list[Sample]]
    notes: tuple[str, ...] = ()
    names: dict[int, str] = field(default_factory=dict)


def images_in(folder: Path) -> list[Path]:
    """The images right in a folder, sorted; hidden files are none."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def first_names(paths: Sequence[Path]) -> str:
    """The names of the first few, and how many more there are."""
    return first_few([path.name for path in paths], 3) or "nothing"
