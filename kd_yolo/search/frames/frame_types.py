"""What flows through a search: frames, the boxes of people in them, and their crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

ImageHW3 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
NO_TRACK = -1
# Of a table with one row per crop, see as_row.
COLUMNS: dict[str, type] = {
    "file": str, "source": str, "frame": int, "seconds": float, "camera": int, "track": int,
    "x1": int, "y1": int, "x2": int, "y2": int, "score": float,
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    Attributes:
        source: the file, URL or webcam that it came from, as the user would name it.
        index: number of the frame, from 0; 0 for an image.
        seconds: time in the video; None for an image and for a stream that does not say.
        camera: number of the camera, from 1; 0 where its name says 0.
        image_hw3: BGR uint8, upright.
    """

    source: str
    index: int
    seconds: float | None
    camera: int
    image_hw3: ImageHW3


@dataclass(frozen=True)
class People:
    """The people that a detector sees in one frame.

    Attributes:
        boxes_xyxy_m4: corners in pixels of the frame, float32.
        scores_m: from 0 to 1.
        tracks_m: track of each, :data:`NO_TRACK` where there is none.
    """

    boxes_xyxy_m4: Floats
    scores_m: Floats
    tracks_m: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def track_of(self, index: int) -> int:
        """Track of one box."""
        return int(self.tracks_m[index]) if len(self.tracks_m) else NO_TRACK


@dataclass(frozen=True)
class Crop:
    """One person cut out of a frame.

    Attributes:
        source, index, seconds, camera: those of the frame.
        track: see :class:`People`.
        box_xyxy: corners in whole pixels of the frame, clipped to it, before padding.
        score: of the detector.
        image_hw3: RGB uint8.
    """

    source: str
    index: int
    seconds: float | None
    camera: int
    track: int
    box_xyxy: tuple[int, int, int, int]
    score: float
    image_hw3: ImageHW3


def as_row(crop: Crop, file: str) -> dict[str, Any]:
    """The row of a crop in an index, :data:`COLUMNS`.

    Args:
        crop: what was cut out.
        file: where its image is, from the index's folder.
    """
    x1, y1, x2, y2 = crop.box_xyxy
    return {
        "file": file, "source": crop.source, "frame": crop.index, "seconds": crop.seconds, "camera": crop.camera,
        "track": crop.track, "x1": x1, "y1": y1, "x2": x2, "y2": y2, "score": round(crop.score, 4),
    }  # fmt: skip
