"""``kd-yolo crops``: cuts the people out of images, videos and streams."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.run import parse_flags, run_guarded

if TYPE_CHECKING:
    from kd_yolo.search.crops.run import CropsReport
    from kd_yolo.search.settings import CropsConfig

DESCRIPTION = """Finds people in a source and writes their crops, named as in Market-1501, with an index.

SOURCE is an image, a folder with all that is under it, a glob in quotes, a .txt list, a video, the address of a stream
(rtsp://, http://), or the number of a webcam. The same command again goes on where a run was stopped, and takes what
has been added to a folder since."""
DETECTOR = ("weights", "person", "imgsz", "iou", "batch", "device")
OWN = ("stride", "camera", "embed", "engine", "workers", "ray_address")
RULES = ("conf", "min_height", "min_width", "pad", "aspect", "blur_min", "max_truncated")


@dataclass(frozen=True)
class CropsFlags:
    """Flags of the command; see DESCRIPTION."""

    source: Annotated[str, tyro.conf.Positional]
    """Where to look for people."""
    recipe: str | None = None
    """Name of a file in cfg/search (reid, ...), or a path; flags go over it."""
    weights: str | None = None
    """The detector, a .pt file: official, pruned or distilled (default: yolov8n.pt)."""
    person: str | None = None
    """Name of the class of people (default: person); the only class of a one-class model counts anyway."""
    imgsz: int | None = None
    """Longer side of the detector's input in pixels (default: 640)."""
    iou: float | None = None
    """Boxes that overlap a better one by more are dropped (default: 0.7)."""
    batch: int | None = None
    """Frames in a forward pass (default: 8)."""
    device: str | None = None
    """cpu, cuda, or a GPU's number (default: a GPU where there is one)."""
    conf: float | None = None
    """Least score of a box (default: 0.4)."""
    min_height: int | None = None
    """Least height of a box in pixels (default: 32)."""
    min_width: int | None = None
    """Least width of a box in pixels (default: 12)."""
    pad: float | None = None
    """Share of the box that is added on each side, within the frame (default: 0.05)."""
    aspect: float | None = None
    """Height / width to which crops are grown, with grey beyond the frame (default: as the box)."""
    blur_min: float | None = None
    """Least sharpness, the variance of the Laplacian at 128 pixels in height; 150 leaves out what is clearly blurred
    (default: 0, all)."""
    max_truncated: int | None = None
    """How many of the frame's borders a box may touch; 0: whole people only (default: any)."""
    stride: int | None = None
    """Every n-th frame of a video or stream (default: 1)."""
    camera: int | None = None
    """Number of the camera (default: from names as 0002_c1s1_000451_03.jpg or cam1.mp4, else one for each video and
    folder)."""
    embed: str | None = None
    """A ReID network (.pt or .onnx) whose vectors are written beside the crops; search index takes them as they are."""
    engine: Literal["local", "ray"] | None = None
    """local: this process (default); ray: many processes, on all machines of a Ray cluster."""
    workers: int | None = None
    """Processes of the Ray engine (default: one a GPU, without GPUs one a CPU core)."""
    ray_address: str | None = None
    """Cluster to join, auto or host:port (default: one is started on this machine for the run)."""
    csv: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write crops.csv beside crops.parquet."""
    out: Path | None = None
    """Folder of the results (default: runs/search/<name of the source>-crops)."""
    trust_weights: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Load checkpoints that name classes outside the allow-list: runs the code they hold."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo crops") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(CropsFlags, words, prog=prog, description=DESCRIPTION)
    return run_guarded(lambda: _run(flags, shlex.join([*prog.split(), *words])))


def _run(flags: CropsFlags, typed: str) -> None:
    from kd_yolo.search.frames.listing import check_folder, check_names

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
    _finish(report, flags)


def _settings(flags: CropsFlags) -> CropsConfig:
    from kd_yolo.base.places import find_weights
    from kd_yolo.search.settings import resolve_crops

    given: dict[str, Any] = {key: value for key, value in vars(flags).items() if value is not None}
    changes: dict[str, Any] = {key: given[key] for key in OWN if key in given}
    changes["detector"] = {key: given[key] for key in DETECTOR if key in given}
    changes["rules"] = {key: given[key] for key in RULES if key in given}
    config = resolve_crops(flags.recipe, changes)
    weights = find_weights(config.detector.weights)
    return config.model_copy(update={"detector": config.detector.model_copy(update={"weights": weights})})


def _stem(source: str) -> str:
    """A name for a folder."""
    if source.isdigit():
        return f"webcam{source}"
    if "://" in source:
        return re.sub(r"[^\w.-]+", "-", source.partition("://")[2].rpartition("@")[2]).strip("-")
    path = Path(source).expanduser().absolute()
    return re.sub(r"[*?\[\]]+", "-", path.stem if path.is_file() else path.name).strip("-") or "crops"


def _finish(report: CropsReport, flags: CropsFlags) -> None:
    print("\n".join(report.lines()))
    print_results(report.folder, ("crops/", "crops.parquet", "crops.csv", "vectors/"))
    weights = shell_path(flags.embed) if flags.embed else "..."
    print_next(f"kd-yolo search index {shell_path(report.folder)} --weights {weights}")
