"""``kd-yolo search serve``: the page where a person is searched for, and detectors are compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from kd_yolo.cli.about import About
from kd_yolo.cli.closing import say
from kd_yolo.cli.flags import FlagsOf, Given
from kd_yolo.cli.paths import check_names, parse_detector
from kd_yolo.cli.run import parse_flags, run_guarded
from kd_yolo.cli.search.flags import GalleryFlags
from kd_yolo.search.settings import CropRules, DetectorSettings, ServeRules

ABOUT = About(
    "Serves a web page on this machine to find a person in a gallery and to compare detectors.",
    "kd-yolo search serve --gallery runs/search/gallery --compare yolov8m.pt distilled.pt",
)


class ServeFlags(GalleryFlags):
    """Flags of ``kd-yolo search serve``."""

    reid: Path | None = None
    """Path of the network if it has moved since the gallery was made (default: its path then)."""
    detector: Annotated[Given, FlagsOf(DetectorSettings, ("weights", "person", "imgsz", "device"))]
    rules: Annotated[Given, FlagsOf(CropRules, ("conf",))]
    compare: tuple[str, ...] = ()
    """Weights of two or more detectors to compare in the second tab."""
    page: Annotated[Given, FlagsOf(ServeRules, tuple(ServeRules.model_fields))]


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo search serve") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(ServeFlags, words, prog=prog, description=ABOUT)
    return run_guarded(lambda: _run(flags))


def _run(flags: ServeFlags) -> None:
    from kd_yolo.search.page.serve import ServeSettings, serve

    check_names(flags)
    prog = "kd-yolo search serve"
    page = ServeRules.parse(flags.page, prog)
    detector, rules = parse_detector(flags.detector, prog), CropRules.parse(flags.rules, prog)
    serve(ServeSettings(flags.gallery, flags.reid, detector, rules, flags.compare, page), say)
