"""Frames of a video file, a stream or a webcam, one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import regular_file
from kd_yolo.search.frames.frame_types import ImageHW3

Say = Callable[[str], None]
TIMEOUT_MS = 10_000  # to open a stream, and to wait for its next frame
HEAD_BYTES = 512
TEXT = frozenset(b"\t\n\r\f\x1b") | frozenset(range(32, 127))
SHORT = 0.02  # share of its frames that a video may lack without a word: headers estimate


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video.

    Attributes:
        index: its number, from 0.
        seconds: when it is to be shown; None when neither the container nor the frame rate says.
        image_hw3: BGR uint8, upright.
    """

    index: int
    seconds: float | None
    image_hw3: ImageHW3


def read_video(
    name: str, *, start: int = 0, end: int | None = None, stride: int = 1, live: bool = False, say: Say = print
) -> Iterator[VideoFrame]:
    """Decodes every ``stride``-th frame.

    Args:
        name: a file, the address of a stream, or the number of a webcam.
        start: the first frame that is wanted. Those of a file before it are decoded and dropped, which is exact where
            seeking is not; a live source goes on counting from there.
        end: the first frame that is not wanted; None: all to the last.
        stride: frames whose number it divides.
        live: a stream or webcam: it ends when no frame comes within ten seconds.
        say: takes lines for the user.

    Raises:
        InputError: it cannot be opened, or not a single frame can be read.
    """
    capture = _open(name, live=live)
    begun, index, num_bad, num_good = time.monotonic(), start if live else 0, 0, 0
    try:
        while (end is None or index < end) and capture.grab():
            if index >= start and index % stride == 0:
                seconds = round(time.monotonic() - begun, 3) if name.isdigit() else _seconds(capture, index)
                is_read, image = capture.retrieve()
                num_bad, num_good = num_bad + (not is_read), num_good + is_read
                if is_read:
                    yield VideoFrame(index, seconds, np.asarray(image, np.uint8))
            index += 1
        if end is not None and index >= end:
            return
        if index == (start if live else 0) or (num_bad and not num_good):
            raise InputError(f"{name} gives no frame. {_advice(live)}")
        for line in _notes(capture, name, index, num_bad, live=live):
            say(line)
    finally:
        capture.release()


def count_frames(name: str) -> int:
    """How many frames a video file says it has, an estimate; 0 where it does not say or cannot be opened."""
    try:
        capture = _open(name, live=False)
    except InputError:
        return 0
    said = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(0, int(said)) if math.isfinite(said) else 0


def check_video(name: str) -> None:
    """Refuses what is no video before FFmpeg sees it, which waits for a pipe and follows a playlist's addresses.

    Raises:
        InputError: not a regular file, or a text.
    """
    file = regular_file(name, "video")
    with file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if head and not head.startswith(b"YUV4MPEG2") and not set(head) - TEXT:
        raise InputError(f"{name} cannot be opened as a video: it is a text. {_advice(live=False)}")


def _open(name: str, *, live: bool) -> Any:
    if name.isdigit():
        capture = cv2.VideoCapture(int(name))
    elif live:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, limits)
    else:
        check_video(name)
        capture = cv2.VideoCapture(name)
    if not capture.isOpened():
        capture.release()
        what = "webcam " if name.isdigit() else ""
        raise InputError(f"{what}{name} cannot be opened{'' if live else ' as a video'}. {_advice(live)}")
    return capture


def _advice(live: bool) -> str:
    if live:
        return "Is it on and in reach? Try it with: ffplay ADDRESS (a webcam: its number, from 0)."
    return "Convert it to MP4 (H.264), or name a folder of images."


def _seconds(capture: Any, index: int) -> float | None:
    """When the frame that was grabbed last is to be shown."""
    said, rate = float(capture.get(cv2.CAP_PROP_POS_MSEC)), float(capture.get(cv2.CAP_PROP_FPS))
    if index == 0 or (math.isfinite(said) and said > 0):
        return round(max(said, 0.0) / 1000, 3)
    return round(index / rate, 3) if 0 < rate < 1000 else None


def _notes(capture: Any, name: str, count: int, num_bad: int, *, live: bool) -> Iterator[str]:
    if live:
        yield f"warning: {name} stopped after {count:,} frames; what was read is kept"
    said = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not live and math.isfinite(said) and count < said * (1 - SHORT):
        yield f"warning: {name} ends after {count:,} of {said:,.0f} frames: it is damaged or cut off"
    if num_bad:
        yield f"warning: {num_bad:,} frames of {name} do not decode and are left out"
