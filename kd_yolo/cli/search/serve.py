"""``kd-yolo search serve``: the page where a person is searched for, and detectors are compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.cli.run import parse_flags, run_guarded

DESCRIPTION = "Serves a web page on this machine: find a person of an image in a gallery, compare detectors."


@dataclass(frozen=True)
class ServeFlags:
    """Flags of ``kd-yolo search serve``."""

    gallery: Path = Path("runs/search/gallery")
    """Folder of a gallery (kd-yolo search index)."""
    reid: Path | None = None
    """The network that the gallery was built with, where it is not any more where it was then."""
    weights: str = "yolov8n.pt"
    """The detector of people."""
    compare: tuple[str, ...] = ()
    """Weights of two or more detectors to compare in the second tab: teacher.pt pruned.pt distilled.pt."""
    port: int = 7860
    """Where the page is served."""
    host: str = "127.0.0.1"
    """Another address than this machine's own shows the gallery to everybody who reaches it: there is no password."""
    person: str = "person"
    """Name of the detector's class of people."""
    conf: float = 0.4
    """Least score of a person."""
    imgsz: int = 640
    """Longer side of the detectors' input in pixels."""
    device: str | None = None
    """cpu, cuda, cuda:1; default: a GPU where there is one."""
    max_mb: float = 10.0
    """Largest image that may be sent, in megabytes."""
    max_megapixels: float = 50.0
    """Most pixels of an image that may be sent, in millions."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo search serve") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(ServeFlags, words, prog=prog, description=DESCRIPTION)
    return run_guarded(lambda: _run(flags))


def _run(flags: ServeFlags) -> None:
    from kd_yolo.search.frames.listing import check_names
    from kd_yolo.search.page.serve import ServeSettings, serve
    from kd_yolo.search.page.upload import Limits
    from kd_yolo.search.settings import CropRules, DetectorSettings, ServeRules

    check_names(flags)
    ServeRules.parse({"port": flags.port}, "kd-yolo search serve")
    given = {"weights": flags.weights, "person": flags.person, "imgsz": flags.imgsz, "device": flags.device}
    detector = DetectorSettings.parse(given, "kd-yolo search serve")
    rules = CropRules.parse({"conf": flags.conf}, "kd-yolo search serve")
    limits = Limits.of(flags.max_mb, flags.max_megapixels)
    settings = ServeSettings(flags.gallery, flags.reid, detector, rules, flags.compare, flags.host, flags.port, limits)
    serve(settings, lambda line: print(line, flush=True))
