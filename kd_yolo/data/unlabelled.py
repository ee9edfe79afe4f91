"""Images without labels: found, checked, and kept apart from those of the labelled set."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.order import natural_key
from kd_yolo.base.reading import first_few, read_text
from kd_yolo.data.frames import VIDEO_SUFFIXES, video_frames
from kd_yolo.data.spec import IMAGE_SUFFIXES, label_path
from kd_yolo.data.tree import check_waits, walk_folders
from kd_yolo.data.verify import why_unusable

_READERS = 2
_KINDS = "a folder, a glob such as 'images/*.jpg', a .txt list, an image, or a video"


@dataclass(frozen=True)
class UnlabelledImages:
    """Images without labels that can be used.

    Args:
        files: the images in natural order (img2 before img10).
        skipped: images that cannot be used, each with the reason.
        notes: what the user should know, a sentence each.
    """

    files: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()


def find_unlabelled(source: str, *, frames_dir: Path, exclude: Collection[Path] = ()) -> UnlabelledImages:
    """Finds and checks the images that ``--unlabelled`` names.

    Args:
        source: a folder with all that is under it, a glob, a ``.txt`` list (paths count from the list's folder), an
            image, or a video.
        frames_dir: where the frames of a video go.
        exclude: images of the labelled set; they are left out, whatever their paths are spelt like.

    Raises:
        InputError: nothing there, or nothing that can be used.
    """
    found = _sources(source)
    files, notes = _images(source, found, frames_dir)
    taken = {path.resolve() for path in exclude}
    free = [file for file in files if file.resolve() not in taken]
    with ThreadPoolExecutor(_READERS) as pool:
        problems = list(pool.map(why_unusable, free))
    skipped = tuple((file, why) for file, why in zip(free, problems, strict=True) if why)
    usable = tuple(file for file, why in zip(free, problems, strict=True) if not why)
    if len(free) < len(files):
        notes.append(f"{len(files) - len(free)} of {len(files)} images are in the labelled set: left out")
    if skipped:
        notes.append(f"{len(skipped)} of {len(free)} images cannot be used and are skipped: {_shown(skipped)}")
    labelled = sum(label_path(file).is_file() for file in usable)
    if labelled:
        notes.append(f"{labelled} of {len(usable)} images have label files: they are not read")
    if not usable:
        raise InputError(f"--unlabelled {source}: no image is left. {'; '.join(notes)}. Name others, or leave it out.")
    return UnlabelledImages(usable, skipped, tuple(notes))


def check_unlabelled(source: str) -> None:
    """Checks that ``--unlabelled`` names images or a video; nothing is decoded or written.

    Raises:
        InputError: see :func:`find_unlabelled`.
    """
    found = _sources(source)
    if not _is_video(found):
        _images(source, found, Path())


def _is_video(found: list[Path]) -> bool:
    return len(found) == 1 and found[0].suffix.lower() in VIDEO_SUFFIXES and found[0].is_file()


def _sources(source: str) -> list[Path]:
    """The files that a source names, whatever they are."""
    path = Path(source).expanduser()
    if path.is_dir():
        return [file for folder in walk_folders(path) for file in folder.iterdir() if _is_file(file)]
    if path.is_file():
        return _listed(path) if path.suffix.lower() == ".txt" else [path]
    found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207  # absolute ones as well
    files = [file for file in found if _is_file(file)]
    if not files:
        raise InputError(f"--unlabelled {source}: no such file ({path.absolute()}). It takes {_KINDS}.")
    return files


def _listed(list_file: Path) -> list[Path]:
    lines = [line.strip() for line in read_text(list_file, what="list of images").splitlines()]
    return [Path(os.path.normpath(list_file.parent / line)) for line in lines if line]


def _images(source: str, found: list[Path], frames_dir: Path) -> tuple[list[Path], list[str]]:
    """The images among the files, or the frames if the only file is a video; and notes on what was passed over."""
    videos = [file for file in found if file.suffix.lower() in VIDEO_SUFFIXES]
    if _is_video(found):
        frames = video_frames(found[0], frames_dir)
        return frames, [f"{len(frames)} frames of {found[0]} are in {frames_dir}"]
    files = sorted({file.absolute() for file in found if file.suffix.lower() in IMAGE_SUFFIXES}, key=natural_key)
    if not files:
        other = f" ({len(videos)} videos: name one of them)" if videos else f" ({len(found)} other files)"
        raise InputError(f"--unlabelled {source}: no images there{other if found else ''}. It takes {_KINDS}.")
    return files, [f"{len(videos)} videos in {source} are passed over: a video is named by itself"] if videos else []


def _is_file(file: Path) -> bool:
    """Whether it is a file; pipes and devices, which would be waited for, are refused."""
    check_waits(file)
    return file.is_file() and not file.name.startswith(".")


def _shown(skipped: tuple[tuple[Path, str], ...]) -> str:
    """The first few images with their reasons, and how many more there are."""
    return first_few([f"{file} ({why})" for file, why in skipped])
