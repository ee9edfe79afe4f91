"""``kd-yolo crops``: cuts the people out of images, videos and streams."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kd_yolo.cli.about import About
from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.cli.paths import check_folder, check_names, find_detector
from kd_yolo.cli.run import parse_flags, run_guarded
from kd_yolo.config.base import TrustWeights
from kd_yolo.search.settings import CropRules, CropsConfig, DetectorSettings, resolve_crops

if TYPE_CHECKING:
    from kd_yolo.search.crops.run import CropsReport

ABOUT = About(
    """Finds people in images and videos and writes their crops, named as in Market-1501, with an index.

    SOURCE is an image, a folder (with subfolders), a glob in quotes, a .txt list, a video, the address of a stream
    (rtsp://, http://) or the number of a webcam. Run the same command again to continue an interrupted run, or to add
    what is new in a folder. With --recipe the defaults are those of the recipe.""",
    "kd-yolo crops videos/ --recipe reid --embed runs/reid/resnet50/weights/best.pt",
)


OWN = tuple(name for name in CropsConfig.model_fields if name not in ("detector", "rules"))


class CropsFlags(TrustWeights, Flags):
    """Flags of ``kd-yolo crops``."""

    source: Annotated[str, tyro.conf.Positional]
    """Images or videos to search for people."""
    recipe: str | None = None
    """Name of a recipe in cfg/search (reid, everything) or path of a YAML; flags override it (default: none)."""
    detector: Annotated[Given, FlagsOf(DetectorSettings, tuple(DetectorSettings.model_fields))]
    rules: Annotated[Given, FlagsOf(CropRules, tuple(CropRules.model_fields))]
    settings: Annotated[Given, FlagsOf(CropsConfig, OWN)]
    csv: bool = False
    """Also write crops.csv beside crops.parquet."""
    out: Path | None = None
    """Folder of the results (default: runs/search/<name of the source>-crops)."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo crops") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(CropsFlags, words, prog=prog, description=ABOUT)
    return run_guarded(lambda: _run(flags, shlex.join([*prog.split(), *words])))


def _run(flags: CropsFlags, typed: str) -> None:
    check_names(flags)
    check_folder(flags.out)
    config = _settings(flags)
    from kd_yolo.search.crops.run import write_crops

    folder = flags.out or Path("runs/search") / f"{_stem(flags.source)}-crops"
    try:
        report = write_crops(flags.source, config, folder, say, csv=flags.csv, trust=flags.trust_weights)
    except KeyboardInterrupt:
        print(f"\nwhat is done is kept in {folder}; go on with: {typed}", file=sys.stderr)
        raise
    _finish(report, config.embed)


def _settings(flags: CropsFlags) -> CropsConfig:
    changes = {**flags.settings, "detector": flags.detector, "rules": flags.rules}
    config = resolve_crops(flags.recipe, changes)
    return config.model_copy(update={"detector": find_detector(config.detector)})


def _stem(source: str) -> str:
    """A name for a folder."""
    if source.isdigit():
        return f"webcam{source}"
    if "://" in source:
        return re.sub(r"[^\w.-]+", "-", source.partition("://")[2].rpartition("@")[2]).strip("-")
    path = Path(source).expanduser().absolute()
    return re.sub(r"[*?\[\]]+", "-", path.stem if path.is_file() else path.name).strip("-") or "crops"


def _finish(report: CropsReport, embed: str | None) -> None:
    print("\n".join(report.lines()))
    print_results(report.folder, ("crops/", "crops.parquet", "crops.csv", "vectors/"))
    weights = shell_path(embed) if embed else "..."
    print_next(f"kd-yolo search index {shell_path(report.folder)} --weights {weights}")
