"""Frames of a video as images in a folder: complete or absent, and reused when they are those of this video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import write_image
from kd_yolo.base.reading import read_json_value, regular_file
from kd_yolo.data.folder import write_whole

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm"))
MAX_FRAMES = 1000


def video_frames(video: Path, folder: Path) -> list[Path]:
    """The frames of a video, at most 1000, spread evenly over it.

    Args:
        video: the file.
        folder: gets the frames as JPEG, named by their place in the video; what else is there is replaced.

    Raises:
        InputError: the file cannot be read as a video.
    """
    stat = regular_file(video, "video").stat()
    wanted = {"video": str(video.resolve()), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if not _holds(folder, wanted):
        write_whole(folder, lambda partial: {**wanted, "frames": _write(video, partial)})
    return sorted(folder.glob("*.jpg"))


def _holds(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether all frames of this very video are there."""
    try:
        header = read_json_value(folder / "meta.json", limit=1 << 20)
    except InputError:
        return False
    return isinstance(header, dict) and header == {**wanted, "frames": sum(1 for _ in folder.glob("*.jpg"))}


def _write(video: Path, folder: Path) -> int:
    """Writes the frames and returns how many there are."""
    count = 0
    for index, image in _frames(video, _spread(_length(video))):
        write_image(folder / f"{index:08d}.jpg", image, sync=False)
        count += 1
    if not count:
        raise InputError(f"{video} cannot be read as a video: convert it to MP4 (H.264), or name a folder of images.")
    return count


def _length(video: Path) -> int:
    """Number of frames; counted one by one where the file does not say."""
    capture = cv2.VideoCapture(str(video))
    try:
        said = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return said if said > 0 else sum(1 for _ in iter(capture.grab, False))
    finally:
        capture.release()


def _spread(length: int) -> list[int]:
    """At most ``MAX_FRAMES`` places out of ``length``, evenly spread."""
    places = np.linspace(0, length - 1, min(length, MAX_FRAMES)).round()
    return [int(place) for place in places]


def _frames(video: Path, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames at these places, in order; ends early where the video does."""
    capture, place = cv2.VideoCapture(str(video)), 0
    try:
        for index in wanted:
            while place < index:
                if not capture.grab():
                    return
                place += 1
            is_read, image = capture.read()
            if not is_read:
                return
            place += 1
            yield index, image
    finally:
        capture.release()
