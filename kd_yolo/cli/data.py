"""``kd-yolo data``: make a built-in data set, or check one of yours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.cli.about import About
from kd_yolo.cli.closing import shell_path
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.run import parse_flags, run_guarded

if TYPE_CHECKING:
    from kd_yolo.builtin.clip_set import ClipReport
    from kd_yolo.builtin.crops_set import CropsReport
    from kd_yolo.builtin.diagram_set import DiagramReport
    from kd_yolo.builtin.shapes_set import ShapesReport
    from kd_yolo.builtin.street_set import StreetReport
    from kd_yolo.data.split_check import SplitReport

    Report = StreetReport | DiagramReport | CropsReport | ClipReport | ShapesReport

Set = Literal["street", "diagram", "reid", "clip", "shapes"]
SETS: tuple[Set, ...] = get_args(Set)
MAX_CLASSES_SHOWN = 100
ABOUT = {
    "make": About(
        "Draws built-in street scenes, diagrams, crops of people, videos of several cameras, or shapes.",
        "kd-yolo data make street --preset smoke --out my/streets",
    ),
    "check": About(
        "Reads a data YAML and its labels as training would: counts images and boxes, finds what would stop it.",
        "kd-yolo data check my/data.yaml",
    ),
}


class Make(Flags):
    """Flags of ``make``."""

    what: Annotated[Set, tyro.conf.Positional]
    """street: people, cars, dogs, signs.  diagram: nested hand-drawn processes, with the parent of each box.
    reid: crops of people in several cameras, as in Market-1501.  clip: videos of several cameras, with the boxes and
    identities of the people.  shapes: large discs, squares and triangles, the easy set of `kd-yolo demo`."""
    preset: Literal["smoke", "demo", "bench"] = "demo"
    """smoke (seconds), demo (about 250 street scenes, 160 diagrams, 3,800 crops, 600 frames or 550 images of
    shapes), bench (thousands)."""
    out: Path | None = None
    """Folder (default: datasets/<what>-<preset>; datasets/diagram for the demo preset of diagrams)."""
    seed: int = 0
    """Seed of everything drawn."""
    force: bool = False
    """Replace a folder that holds another version of the set."""


class Check(Flags):
    """Flags of ``check``."""

    yaml: Annotated[str, tyro.conf.Positional]
    """The data YAML, a folder with one, or the name of one that ultralytics ships (coco8.yaml)."""
    task: Literal["detect", "segment", "pose", "obb"] | None = None
    """What will be trained on it (default: pose with a kpt_shape, else detect)."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo data") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    kinds: dict[str, type[Make] | type[Check]] = {"make": Make, "check": Check}
    if not words or words[0] not in kinds:
        lines = "\n".join(f"  {name:6} {about.text}" for name, about in ABOUT.items())
        usage = f"usage: {prog} make {'|'.join(SETS)} [flags] | check data.yaml"
        print(f"{usage}\n\n{lines}\n\n{prog} <command> --help says more.")
        return 0 if words and words[0] in {"-h", "--help"} else 2
    flags = parse_flags(kinds[words[0]], words[1:], prog=f"{prog} {words[0]}", description=ABOUT[words[0]])
    return run_guarded(lambda: _make(flags) if isinstance(flags, Make) else _check(flags), detector=False)


def _make(flags: Make) -> None:
    from rich.progress import Progress

    from kd_yolo.base.places import project_folder

    if not 0 <= flags.seed < 1 << 32:
        raise ConfigError(f"--seed is {shown(flags.seed)}, expected a whole number from 0 to {(1 << 32) - 1}.")
    name = "diagram" if flags.what == "diagram" and flags.preset == "demo" else f"{flags.what}-{flags.preset}"
    folder = flags.out or project_folder("datasets") / name
    with Progress(transient=True) as bar:
        task = bar.add_task("drawing", total=None)
        report = _maker(flags.what)(
            folder, flags.preset, seed=flags.seed, force=flags.force,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    counts = ", ".join(f"{split} {count}" for split, count in report.images.items())
    print(f"{'already there' if report.reused else 'drawn'}: {report.folder} ({counts})")
    if flags.what == "reid":
        _print_statistics(folder)
        print(f"next: kd-yolo reid train data={shell_path(folder)}")
    elif flags.what == "clip":
        print(f"next: kd-yolo search track {shell_path(folder)}/cam*.mp4 --truth {shell_path(folder)}/cam*.csv")
    else:
        print(f"next: kd-yolo distill data={shell_path(folder / 'data.yaml')}")


def _maker(what: Set) -> Callable[..., Report]:
    from kd_yolo.builtin.clip_set import make_clip
    from kd_yolo.builtin.crops_set import make_crops
    from kd_yolo.builtin.diagram_set import make_diagram
    from kd_yolo.builtin.shapes_set import make_shapes
    from kd_yolo.builtin.street_set import make_street

    makers: dict[Set, Callable[..., Report]] = {
        "street": make_street, "diagram": make_diagram, "reid": make_crops, "clip": make_clip,
        "shapes": make_shapes,
    }  # fmt: skip
    return makers[what]


def _print_statistics(folder: Path) -> None:
    """Prints what a ReID set holds."""
    from rich.console import Console

    from kd_yolo.reid.data.sets import read_reid_set
    from kd_yolo.reid.data.statistics import as_table

    Console().print(as_table(read_reid_set(folder, decode=False).subsets))


def _check(flags: object) -> None:
    from kd_yolo.base.reading import printable
    from kd_yolo.data.check import check_detection_data

    assert isinstance(flags, Check), "the other subcommand"
    report = check_detection_data(flags.yaml, task=flags.task)
    for split, found in report.splits.items():
        _print_split(split, found)
    for image in report.left_out:
        print(f"warning: training leaves out {image}")
    for file in report.rewritten:
        print(f"warning: does not end as a JPEG file does, ultralytics will rewrite it: {printable(file)}")
    for note in report.notes:
        print(f"note: {printable(note)}")
    print(f"sha256 {report.sha256}")
    print(f"next: kd-yolo distill --teacher yolov8m.pt data={shell_path(flags.yaml)}")


def _print_split(split: str, found: SplitReport) -> None:
    from kd_yolo.base.reading import printable

    counts = [f"{printable(name)} {count}" for name, count in found.boxes.items()]
    boxes = ", ".join(counts[:MAX_CLASSES_SHOWN])
    more = f", ... {len(counts)} classes in all" if len(counts) > MAX_CLASSES_SHOWN else ""
    print(f"{split:5} {found.images} images, {found.labelled} with labels; boxes: {boxes}{more}")
    if found.repeated:
        print(f"note: {found.repeated} label line(s) of '{split}' are there twice and count once")
    if found.passed_over:
        files = ", ".join(f"{count} {suffix}" for suffix, count in found.passed_over)
        print(f"note: '{split}' has {files}: ultralytics does not read such files, save them as .jpg or .png")
