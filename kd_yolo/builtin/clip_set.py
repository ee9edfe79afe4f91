"""Writes the built-in film: what several cameras see of the same people, with the truth about who is where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from kd_yolo.builtin.presets import ClipPreset, get_clip_preset
from kd_yolo.builtin.set_folder import SetKey, make_set
from kd_yolo.builtin.street.clip import View, clip_cameras, draw_view, plan_views
from kd_yolo.builtin.street.render import Frame, Truth
from kd_yolo.builtin.street_image import is_labelled
from kd_yolo.data.folder import Progress, Record

GENERATOR = "clip"
VERSION = 1  # raise it whenever the same seed gives other images or truth
_CODEC = "mp4v"
_PEDESTRIAN = 1  # MOTChallenge's number of the class


@dataclass(frozen=True)
class ClipReport:
    """What ``make_clip`` made, or found already made.

    Args:
        folder: the set.
        videos: a film a camera, in the order of the cameras.
        truths: the truth about each film.
        images: frames by film.
        boxes: boxes of people by film, those to be ignored left out.
        people: how many different people are seen.
        reused: the set was already there and was not drawn again.
    """

    folder: Path
    videos: list[Path]
    truths: list[Path]
    images: dict[str, int]
    boxes: dict[str, int]
    people: int
    reused: bool


def make_clip(
    out_dir: Path, preset: str = "demo", seed: int = 0, *, force: bool = False, progress: Progress | None = None
) -> ClipReport:
    """Makes the built-in film for tracking and search across cameras.

    It holds ``cam1.mp4``, ``cam2.mp4``, ..., ``meta.json``, and ``cam1.csv``, ... in MOTChallenge's format: frame from
    1, person from 1, left, top, width and height of the visible box in pixels, 1 or 0 for a box to be ignored (hardly
    anything of the person is seen, by the rule of the street set's labels), class 1, visible share. The films begin at
    the same moment, and a person has one number in all of them. People, cameras and places are those of no other set.

    Args:
        out_dir: the set's folder; a set with the same preset, seed and version that is already there is reused.
        preset: "smoke", "demo" or "bench".
        seed: of everything.
        force: replace another clip that is in ``out_dir``.
        progress: called with (frames done, frames in all).

    Raises:
        ConfigError: unknown preset, or ``out_dir`` holds something else.
    """
    plan, out_dir = get_clip_preset(preset), Path(out_dir).absolute()
    key = SetKey(GENERATOR, VERSION, plan.name, seed)
    header, reused = make_set(
        out_dir, key, {".": "mp4"}, lambda partial: _write_set(partial, plan, seed, progress),
        force=force, listing=f"cam{plan.cameras}.csv",
    )  # fmt: skip
    return _report(out_dir, header, reused=reused)


def _report(folder: Path, header: Record, *, reused: bool) -> ClipReport:
    names = list(header["frames"])
    return ClipReport(
        folder=folder,
        videos=[folder / f"{name}.mp4" for name in names],
        truths=[folder / f"{name}.csv" for name in names],
        images=dict(header["frames"]),
        boxes=dict(header["boxes"]),
        people=header["people"],
        reused=reused,
    )


def _write_set(folder: Path, plan: ClipPreset, seed: int, progress: Progress | None) -> Record:
    """Draws everything into ``folder`` and returns what ``meta.json`` says of it."""
    boxes, seen = {}, set()
    for number, view in enumerate(clip_views(plan, seed)):
        lines = _write_film(folder / f"cam{number + 1}.mp4", view, plan, seed, (number, progress))
        (folder / f"cam{number + 1}.csv").write_text("".join(lines))
        counted = [line.split(",")[1] for line in lines if line.split(",")[6] == "1"]
        boxes[f"cam{number + 1}"] = len(counted)
        seen.update(counted)
    return {
        "size_px": [plan.width_px, plan.height_px],
        "fps": plan.fps,
        "identities": [plan.identity_range.start, plan.identity_range.stop],
        "images": {".": plan.cameras},
        "frames": dict.fromkeys(boxes, plan.frames),
        "boxes": boxes,
        "people": len(seen),
    }


def clip_views(plan: ClipPreset, seed: int) -> list[View]:
    """What each camera of a preset will see."""
    cameras = clip_cameras(seed, plan.cameras, plan.width_px, plan.height_px)
    return plan_views(cameras, plan.identity_range, plan.frames / plan.fps, seed)


def _write_film(file: Path, view: View, plan: ClipPreset, seed: int, place: tuple[int, Progress | None]) -> list[str]:
    """Writes one camera's film and returns the lines of its truth."""
    number, progress = place
    codec = cv2.VideoWriter.fourcc(*_CODEC)
    writer, lines = cv2.VideoWriter(str(file), codec, plan.fps, (plan.width_px, plan.height_px)), list[str]()
    if not writer.isOpened():
        raise OSError(f"cannot write {file}: is the disk full, or OpenCV built without FFmpeg?")
    try:
        for index, frame in enumerate(draw_view(view, plan.frames, plan.fps, seed)):
            writer.write(frame.image)
            lines.extend(truth_lines(frame, index, plan))
            if progress is not None:
                progress(number * plan.frames + index + 1, plan.cameras * plan.frames)
    finally:
        writer.release()
    return lines


def truth_lines(frame: Frame, index: int, plan: ClipPreset) -> Iterator[str]:
    """A line for each person of a frame of whom anything is seen."""
    for truth in frame.objects:
        if truth.class_name == "person" and truth.visible_share > 0:
            yield f"{index + 1},{truth.identity - plan.identity_range.start + 1},{_box(truth)},{_flag(truth)}\n"


def _box(truth: Truth) -> str:
    x0, y0, x1, y1 = truth.visible_xyxy
    return f"{x0:g},{y0:g},{x1 - x0:g},{y1 - y0:g}"


def _flag(truth: Truth) -> str:
    return f"{int(is_labelled(truth))},{_PEDESTRIAN},{truth.visible_share:.4f}"
