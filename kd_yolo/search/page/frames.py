"""A match in the frame that it was cut out of; the crop where the frame can no longer be had."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.frames.images import read_bgr
from kd_yolo.search.frames.listing import IMAGES
from kd_yolo.search.frames.sources import VIDEOS
from kd_yolo.search.frames.video import check_video, read_video
from kd_yolo.search.page.draw import Box, Shown, draw_match
from kd_yolo.search.page.finder import Match
from kd_yolo.search.page.text import clock

SAME_S = 0.005  # frames are further apart than that


def show_match(match: Match) -> tuple[ImageHW3 | None, str]:
    """What is seen of a match when it is opened.

    Args:
        match: its row names the source; no other file is opened, and nothing but a regular file.

    Returns:
        An RGB image, the frame with the box or the crop alone or None, and a line about it without the file's path.
    """
    row = match.row
    name, place = source_name(row), f"camera {row['camera']}"
    if row["seconds"] is not None:
        place += f", {clock(row['seconds'])} (frame {row['frame']:,})"
    frame = _read(row)
    box: Box = (int(row["x1"]), int(row["y1"]), int(row["x2"]), int(row["y2"]))
    if frame is None:
        return match.crop_hw3, f"{name}, {place}. The source is no longer here, or cannot be read: this is the crop."
    if not fits(box, frame):
        return match.crop_hw3, f"{name}, {place}. The source has changed since it was indexed: this is the crop."
    return draw_match(Shown.of(frame), box), f"{name}, {place}"


def source_name(row: Mapping[str, Any]) -> str:
    """The source of a crop as others may see it: a file without its folders, an address without its password."""
    text = str(row["source"])
    if "://" in text:
        return f"stream at {text.partition('://')[2].split('/')[0].rpartition('@')[2]}"
    return text.replace("\\", "/").rstrip("/").rpartition("/")[2] or text


def fits(box: Box, frame_hw3: ImageHW3) -> bool:
    """Whether a box lies in a frame."""
    x1, y1, x2, y2 = box
    height, width = frame_hw3.shape[:2]
    return bool(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height)


def _read(row: Mapping[str, Any]) -> ImageHW3 | None:
    """The frame (BGR, upright) that a crop was cut out of; None for streams, webcams and whatever cannot be read."""
    source = Path(str(row["source"]))
    try:
        if not source.is_file():
            return None
        if source.suffix.lower() in VIDEOS:
            return _video_frame(source, int(row["frame"]), row["seconds"])
        return read_bgr(source) if source.suffix.lower() in IMAGES else None
    except (OSError, ValueError, InputError):
        return None


def _video_frame(video: Path, index: int, seconds: float | None) -> ImageHW3 | None:
    """A frame by its number: sought where the container knows where it is, else counted from the start."""
    check_video(str(video))
    capture = cv2.VideoCapture(str(video))
    try:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        is_there = round(capture.get(cv2.CAP_PROP_POS_FRAMES)) == index and capture.grab()
        said_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if is_there and (seconds is None or abs(said_s - seconds) < SAME_S):
            is_read, image = capture.retrieve()
            return np.asarray(image, np.uint8) if is_read else None
    finally:
        capture.release()
    return next((moment.image_hw3 for moment in read_video(str(video), start=index, say=_silent)), None)


def _silent(_: str) -> None:
    """Takes the notes on a video, which were made when it was indexed."""
