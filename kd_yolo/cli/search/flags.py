"""Flags of the commands of ``kd-yolo search`` that work on a gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

DESCRIPTIONS = {
    "index": "Puts crops of people into a gallery. An interrupted run is continued by the same command.",
    "query": "Ranks a gallery for one image of a person, prints and draws the ranking.",
    "calibrate": "Finds the distance up to which two crops show one person, at a false-accept rate, and keeps it.",
    "forget": "Takes crops out of a gallery for good: vectors, rows and images.",
}
GALLERY = Path("runs/search/gallery")
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class Index:
    """Flags of ``index``."""

    crops: Annotated[Path, tyro.conf.Positional]
    """A folder of kd-yolo crops, a ReID set in any layout, or a folder of images of one person each."""
    weights: Path | None = None
    """A checkpoint of kd-yolo reid train, or its ONNX export; a gallery that is there knows its own."""
    gallery: Path = GALLERY
    """Folder of the gallery; made if there is none."""
    kind: str | None = None
    """Index of a new gallery: flat (exact, the default), ivf or hnsw (faster in millions, not exact)."""
    subset: str | None = None
    """train, query or gallery of a ReID set (default: the gallery, else all)."""
    device: str | None = None
    """cpu, cuda, cuda:1; default: a GPU where there is one."""


@dataclass(frozen=True)
class Query:
    """Flags of ``query``."""

    picture: Annotated[Path, tyro.conf.Positional]
    """A crop of a person, or a whole image: the people in it are found first."""
    gallery: Path = GALLERY
    """Folder of the gallery."""
    top: int = 10
    """How many crops to show."""
    rerank: Flag = False
    """Order the nearest by their mutual neighbours (k-reciprocal re-ranking)."""
    threshold: float | None = None
    """Up to which cosine distance it is the same person (default: the calibrated one, if there is one)."""
    out: Path = Path("ranking.png")
    """The image to write: .png, .jpg, .webp or .bmp."""
    detector: str | None = None
    """A YOLO checkpoint that finds the people in a whole image (default: yolov8n.pt, where the shape is no crop's)."""
    nth: int | None = None
    """Which person of a whole image, the largest is 1 (default: 1)."""
    whole: Flag = False
    """Search for the whole image as it is."""
    weights: Path | None = None
    """The network, where it is not any more where it was when the gallery was made."""
    device: str | None = None
    """cpu, cuda, cuda:1; default: a GPU where there is one."""


@dataclass(frozen=True)
class Calibrate:
    """Flags of ``calibrate``."""

    pairs: Path
    """A ReID set, or a folder of crops with names as 0002_c1s1_000451_03.jpg: person and camera."""
    far: float = 0.01
    """False-accept rate: the share of pairs of two people that may pass as one."""
    gallery: Path = GALLERY
    """Folder of the gallery that keeps the threshold."""
    subset: str | None = None
    """train, query or gallery of a ReID set (default: the gallery, else all)."""
    force: Flag = False
    """Keep the threshold though the one that the gallery has comes from more pairs."""
    weights: Path | None = None
    """The network, where it is not any more where it was when the gallery was made."""
    device: str | None = None
    """cpu, cuda, cuda:1; default: a GPU where there is one."""


@dataclass(frozen=True)
class Forget:
    """Flags of ``forget``: crops are forgotten that all of them hold for."""

    gallery: Path = GALLERY
    """Folder of the gallery."""
    person: str | None = None
    """Identity of the person."""
    track: int | None = None
    """Number of a track of --source."""
    places: tuple[int, ...] | None = None
    """Numbers of crops, as a query prints them."""
    source: str | None = None
    """A file or stream, or a folder with all that is in it."""
    start: Annotated[float | None, tyro.conf.arg(name="from")] = None
    """First second in the source."""
    end: Annotated[float | None, tyro.conf.arg(name="to")] = None
    """Last second in the source."""
    dry_run: Flag = False
    """Only say what would be forgotten."""
