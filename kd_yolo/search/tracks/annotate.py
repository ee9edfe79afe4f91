"""A video with the boxes, numbers and ways of the people in it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import require
from kd_yolo.base.files import written_beside
from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.frames.sources import open_source
from kd_yolo.search.tracks.files import Tracks

FPS = 10.0  # of images that do not say
TRACE_S = 2.0


def annotate_video(
    tracks: Tracks, persons: Mapping[int, int], target: Path, say: Callable[[str], None] = print
) -> Path:
    """Reads the video of tracks again and writes it with drawings.

    Args:
        tracks: of the whole video or of its beginning.
        persons: the number that is drawn for each track; a person has one colour in all cameras.
        target: an MP4; a previous one stays until the new one is whole.
        say: called with lines for the user.

    Raises:
        InputError: the video is not there any more.
        MissingDependencyError: supervision is not installed.
    """
    sv = require("supervision")
    with written_beside(target) as part, closing(_drawn(tracks, persons, say)) as images:
        first = next(images, None)
        if first is None:
            raise InputError(f"{tracks.source} gives no frames any more: it was tracked, but cannot be drawn on.")
        height, width = first.shape[:2]
        info = sv.VideoInfo(width=width, height=height, fps=tracks.fps or FPS)
        with sv.VideoSink(str(part), info) as sink:
            sink.write_frame(first)
            for image in images:
                sink.write_frame(_fitted(image, width, height))
    return target


def _fitted(image_hw3: ImageHW3, width: int, height: int) -> ImageHW3:
    """A film has one size; images of a folder may differ."""
    import cv2

    fits = image_hw3.shape[:2] == (height, width)
    return image_hw3 if fits else np.asarray(cv2.resize(image_hw3, (width, height)), np.uint8)


def _drawn(tracks: Tracks, persons: Mapping[int, int], say: Callable[[str], None]) -> Generator[ImageHW3, None, None]:
    """The frames with drawings."""
    draw, found = Drawing(tracks.fps or FPS), tracks.sightings
    count = 0
    for frame in open_source(tracks.source, camera=tracks.camera, say=say):
        count = max(count + 1, frame.index + 1)
        if count > tracks.num_frames:
            return
        here = np.flatnonzero(found.frames_n == count)
        numbers = np.array([persons[int(number)] for number in found.ids_n[here]], np.int64)
        yield draw(frame.image_hw3, found.boxes_xyxy_n4[here], numbers)


class Drawing:
    """Draws on one frame after the other.

    Args:
        fps: frames in a second, for the length of the ways.
    """

    def __init__(self, fps: float) -> None:
        self.sv = require("supervision")
        lookup = self.sv.ColorLookup.TRACK
        length = max(2, round(TRACE_S * fps))
        self.parts: list[Any] = [
            self.sv.TraceAnnotator(
                position=self.sv.Position.BOTTOM_CENTER, trace_length=length, thickness=1, color_lookup=lookup
            ),
            self.sv.BoxAnnotator(thickness=1, color_lookup=lookup),
        ]
        self.label = self.sv.LabelAnnotator(text_scale=0.35, text_padding=2, color_lookup=lookup)

    def __call__(self, image_hw3: ImageHW3, boxes_xyxy_m4: np.ndarray[Any, Any], numbers_m: Any) -> ImageHW3:
        """A copy of the frame with drawings.

        Args:
            image_hw3: BGR uint8.
            boxes_xyxy_m4: corners in pixels.
            numbers_m: person of each box.
        """
        if not len(boxes_xyxy_m4):
            return np.array(image_hw3)
        people = self.sv.Detections(xyxy=boxes_xyxy_m4.astype(np.float32), tracker_id=numbers_m)
        canvas: Any = image_hw3.copy()
        for part in self.parts:
            canvas = part.annotate(canvas, people)
        return np.asarray(self.label.annotate(canvas, people, labels=[str(number) for number in numbers_m]), np.uint8)
