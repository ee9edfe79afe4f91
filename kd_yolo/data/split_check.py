"""Checks one split of a detection set: its images, its label files, and what training would leave out."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import first_few, printable
from kd_yolo.data.labels import LabelFile, LabelProblem, LabelRules, read_label_file
from kd_yolo.data.spec import DataSpec, label_path
from kd_yolo.data.suffixes import PASSED_OVER
from kd_yolo.data.tree import check_waits, files_below
from kd_yolo.data.verify import Verdict, num_channels, verify_image

_READERS = 2
_SAMPLED = 20  # images whose channels are counted


@dataclass(frozen=True)
class LeftOut:
    """An image that training leaves out, and why."""

    file: Path
    why: str

    def __str__(self) -> str:
        return f"{printable(self.file)}: {self.why}"


@dataclass(frozen=True)
class SplitReport:
    """What is in one split.

    Args:
        images: images that are used; one that is listed twice counts twice, as in training.
        labelled: of these, with at least one box; the others are background.
        boxes: boxes by class name; classes without any are there with 0.
        left_out: images that training leaves out.
        rewritten: images that ultralytics will rewrite, as they do not end as JPEG files do.
        repeated: label lines that are there twice and count once.
        passed_over: files by suffix that are images but are not read at all, such as GIFs.
        first_boxes: the first label file with boxes (not outlines); None when there is none.
    """

    images: int
    labelled: int
    boxes: dict[str, int]
    left_out: tuple[LeftOut, ...] = ()
    rewritten: tuple[Path, ...] = ()
    repeated: int = 0
    passed_over: tuple[tuple[str, int], ...] = ()
    first_boxes: Path | None = None

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Images that training leaves out."""
        return tuple(image.file for image in self.left_out)


def check_split(spec: DataSpec, split: str, files: list[Path], task: str, *, decode: bool) -> SplitReport:
    """Counts one split.

    Args:
        spec: the data set.
        split: "train", "val" or "test".
        files: its images.
        task: see :func:`kd_yolo.data.check.check_detection_data`.
        decode: look into the images; without it only missing and empty ones are found.

    Raises:
        InputError: no image can be used, the first ones have other ``channels``,
            images pass ultralytics' check and do not decode, or half of the label files
            have lines that cannot be used.
    """
    if not files and split == "test":
        return SplitReport(0, 0, {})
    if not files:
        places = ", ".join(str(path) for path in spec.splits[split])
        raise InputError(f"'{split}' of {spec.yaml_path} has no images: none under {places}.{_others(spec, split)}")
    unique = list(dict.fromkeys(files))
    with ThreadPoolExecutor(_READERS) as pool:
        verdicts = dict(zip(unique, pool.map(verify_image if decode else _exists, unique), strict=True))
    _check_stops(verdicts)
    fine = [file for file in files if not verdicts[file].left_out]
    if not fine:
        raise InputError(
            f"none of the {len(files)} '{split}' images of {spec.yaml_path} can be read:"
            f" {first_few([LeftOut(file, verdicts[file].left_out) for file in unique])}."
        )
    _check_channels(spec, fine[:_SAMPLED])
    labels = _read_all(spec, task, fine)
    _check_problems(spec, task, labels)
    return _report(spec, split, files, verdicts, labels)


def _exists(file: Path) -> Verdict:
    check_waits(file)
    if not file.is_file():
        return Verdict("missing")
    return Verdict("" if file.stat().st_size else "empty")


def _check_stops(verdicts: dict[Path, Verdict]) -> None:
    stops = [printable(file) for file, verdict in verdicts.items() if verdict.stops]
    if stops:
        raise InputError(
            f"{len(stops)} image(s) do not decode although their headers are whole, which ends a training of"
            f" ultralytics: {first_few(stops)}. Remove them, or save them again."
        )


def _check_channels(spec: DataSpec, files: list[Path]) -> None:
    """Grey and colour images are converted, others are taken as they are."""
    if spec.channels in (1, 3):
        return
    for file in files:
        found = num_channels(file)
        if found != spec.channels:
            raise InputError(
                f"{spec.yaml_path} has 'channels: {spec.channels}', {printable(file)} has {found}: correct the one or"
                " the other."
            )


def _read_all(spec: DataSpec, task: str, files: list[Path]) -> dict[Path, LabelFile]:
    """The label files that are there, by image."""
    points, values = spec.extras.get("kpt_shape", (0, 0))
    rules = LabelRules(len(spec.names), (points, values), pose=task == "pose")
    paths = {file: label_path(file) for file in files}
    return {file: read_label_file(path, rules) for file, path in paths.items() if path.is_file()}


def _check_problems(spec: DataSpec, task: str, labels: dict[Path, LabelFile]) -> None:
    bad = [found for found in labels.values() if found.problems]
    if not bad or 2 * len(bad) < sum(bool(found.problems or found.labels) for found in labels.values()):
        return
    problems = [str(problem) for found in bad for problem in found.problems]
    keypoints = " and the keypoints" if task == "pose" else ""
    raise InputError(
        f"{len(problems)} bad label line(s) in {len(bad)} of {len(labels)} label files:"
        f" {first_few(problems, separator='; ')}."
        f" Each line is 'class cx cy w h'{keypoints}, the class 0..{len(spec.names) - 1}, the others shares of the"
        " image in 0..1. Correct or remove them."
    )


def _report(
    spec: DataSpec, split: str, files: list[Path], verdicts: dict[Path, Verdict], labels: dict[Path, LabelFile]
) -> SplitReport:
    left_out = {file: verdict.left_out for file, verdict in verdicts.items() if verdict.left_out}
    left_out |= {file: _first(found.problems) for file, found in labels.items() if found.problems}
    used = [file for file in files if file not in left_out]
    if not used:
        some = [str(LeftOut(file, why)) for file, why in left_out.items()]
        raise InputError(f"no '{split}' image of {spec.yaml_path} can be used: {first_few(some)}.")
    found = [labels[file] for file in used if file in labels]
    boxes = Counter(dict.fromkeys(spec.names.values(), 0))
    boxes.update(spec.names[label.class_id] for one in found for label in one.labels)
    with_boxes = (label_path(file) for file in used if file in labels and _has_boxes(labels[file]))
    return SplitReport(
        images=len(used),
        labelled=sum(bool(one.labels) for one in found),
        boxes=dict(boxes),
        left_out=tuple(LeftOut(file, why) for file, why in sorted(left_out.items())),
        rewritten=tuple(file for file, verdict in verdicts.items() if verdict.rewritten),
        repeated=sum(one.repeated for one in found),
        passed_over=_passed_over(spec, split),
        first_boxes=next(with_boxes, None),
    )


def _has_boxes(found: LabelFile) -> bool:
    return bool(found.labels) and not found.outlines


def _first(problems: list[LabelProblem]) -> str:
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return printable(problems[0]) + more


def _passed_over(spec: DataSpec, split: str) -> tuple[tuple[str, int], ...]:
    folders = [entry for entry in spec.splits[split] if entry.is_dir()]
    counts = Counter(file.suffix.lower() for folder in folders for file in files_below(folder, PASSED_OVER))
    return tuple(sorted(counts.items()))


def _others(spec: DataSpec, split: str) -> str:
    counts = ", ".join(f"{count} {suffix}" for suffix, count in _passed_over(spec, split))
    return f" There are files that ultralytics does not read ({counts}): save them as .jpg or .png." if counts else ""
