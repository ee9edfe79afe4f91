"""Flags of the commands of ``kd-yolo search`` that work on a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kd_yolo.cli.about import About
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.config.base import Device
from kd_yolo.search.settings import DetectorSettings, ForgetRules, QueryRules

ABOUT = {
    "index": About(
        "Puts crops of people into a gallery. Run the same command again to continue an interrupted run.",
        "kd-yolo search index runs/search/videos-crops --weights runs/reid/resnet50/weights/best.pt",
    ),
    "query": About(
        """Ranks a gallery for one image of a person, prints the ranking and draws it.

        In a whole image (any that is not shaped like a crop, or with --detector or --nth) the people are detected
        first.""",
        "kd-yolo search query person.jpg --top 20 --rerank",
    ),
    "calibrate": About(
        "Finds the largest distance at which two crops show one person, at a given false-accept rate, and stores it"
        " in the gallery.",
        "kd-yolo search calibrate --pairs Market-1501-v15.09.15 --far 0.001",
    ),
    "forget": About(
        "Removes crops from a gallery for good (embeddings, rows and images): the crops that match all given filters.",
        "kd-yolo search forget --source cam1.mp4 --from 60 --to 90 --dry-run",
    ),
}


class GalleryFlags(Flags):
    """Flags of every command on a gallery."""

    gallery: Path = Path("runs/search/gallery")
    """Folder of the gallery."""


class NetworkFlags(GalleryFlags):
    """Flags of the commands that embed crops."""

    weights: Path | None = None
    """Path of the network if it has moved since the gallery was made (default: its path then)."""
    device: Device = None
    """cpu, cuda, cuda:1 or 0 (default: a GPU if there is one)."""


class Index(NetworkFlags):
    """Flags of ``index``."""

    crops: Annotated[Path, tyro.conf.Positional]
    """A folder of kd-yolo crops, a ReID data set in any layout, or a folder of images of one person each."""
    weights: Path | None = None
    """A checkpoint of kd-yolo reid train or its ONNX export (default: the network of an existing gallery)."""
    kind: str = "flat"
    """Index of a new gallery: flat (exact), ivf or hnsw (approximate, faster on millions of crops)."""
    subset: str | None = None
    """train, query or gallery of a ReID data set (default: gallery if there is one, else all)."""


class Query(NetworkFlags):
    """Flags of ``query``."""

    image: Annotated[Path, tyro.conf.Positional]
    """A crop of a person, or a whole image."""
    rules: Annotated[Given, FlagsOf(QueryRules, tuple(QueryRules.model_fields))]
    rerank: bool = False
    """Re-rank the nearest crops by their mutual neighbors (k-reciprocal re-ranking)."""
    out: Path = Path("ranking.png")
    """The image to write: .png, .jpg, .webp or .bmp."""
    detector: Annotated[Given, FlagsOf(DetectorSettings, ("weights",), {"weights": "detector"})]
    whole: bool = False
    """Search for the whole image as it is, without detection."""


class Calibrate(NetworkFlags):
    """Flags of ``calibrate``."""

    pairs: Path
    """A ReID data set, or a folder of crops named like 0002_c1s1_000451_03.jpg (person and camera)."""
    far: float = Field(default=0.01, gt=0, lt=1)
    """False-accept rate: share of the pairs of two different people that may be accepted as one person."""
    subset: str | None = None
    """train, query or gallery of a ReID data set (default: gallery if there is one, else all)."""
    force: bool = False
    """Replace the stored threshold even if it was calibrated on more pairs."""


class Forget(GalleryFlags):
    """Flags of ``forget``."""

    person: str | None = None
    """Identity of the person (default: any)."""
    places: tuple[int, ...] | None = None
    """Numbers of crops as a query prints them (default: any)."""
    source: str | None = None
    """A file or stream, or a folder and everything in it (default: any)."""
    rules: Annotated[Given, FlagsOf(ForgetRules, ("track", "start", "end"))]
    dry_run: bool = False
    """Only print what would be removed."""
