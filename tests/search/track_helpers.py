"""Videos of bright boxes for the tests of tracking, and a network that tells people by their colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_yolo.search.frames.frame_types import Floats, ImageHW3
from kd_yolo.search.tracks.follow import TrackTools
from kd_yolo.search.tracks.rules import TrackRules
from tests.search.crops_helpers import BrightDetector, write_video

RED, BLUE = (40, 40, 250), (250, 40, 40)  # BGR
SIZE_HW = (96, 160)


@dataclass(frozen=True)
class ColourEmbedder:
    """Mean colour of the crop's middle as a unit vector."""

    hash: str = "colour"
    dim: int = 3

    def embed(self, images_rgb: Sequence[ImageHW3]) -> Floats:
        """(N, 3)."""
        middles = [p[p.shape[0] // 3 : -p.shape[0] // 3, p.shape[1] // 3 : -p.shape[1] // 3] for p in images_rgb]
        means_n3 = np.array([m.reshape(-1, 3).mean(0) for m in middles]).reshape(-1, 3)
        return (means_n3 / np.linalg.norm(means_n3, axis=1, keepdims=True)).astype(np.float32)


def two_walk(count: int = 20, *, swap: bool = False) -> list[ImageHW3]:
    """A red person walks to the right above, a blue one to the left below; ``swap`` changes their colours."""
    colours = (BLUE, RED) if swap else (RED, BLUE)
    frames = []
    for index in range(count):
        image = np.zeros((*SIZE_HW, 3), np.uint8)
        image[8:44, 10 + 4 * index : 28 + 4 * index] = colours[0]
        image[52:88, 130 - 4 * index : 148 - 4 * index] = colours[1]
        frames.append(image)
    return frames


def truth_text(count: int = 20, *, swap: bool = False) -> str:
    """The truth about :func:`two_walk`: red is 1, blue is 2."""
    red, blue = (2, 1) if swap else (1, 2)
    lines = []
    for index in range(count):
        lines.append(f"{index + 1},{red},{10 + 4 * index},8,18,36,1,1,1")
        lines.append(f"{index + 1},{blue},{130 - 4 * index},52,18,36,1,1,1")
    return "\n".join(lines) + "\n"


def tools(*, embedder: bool = True, **rules: object) -> TrackTools:
    """Bright boxes, ByteTrack, colours."""
    given = TrackRules.parse({"tracker": "bytetrack", **rules}, "test")
    return TrackTools(BrightDetector(), None, ColourEmbedder() if embedder else None, given)  # type: ignore[arg-type]


def write_two(folder: Path) -> list[str]:
    """``cam1.avi`` and ``cam2.avi``, where red and blue have changed places; with the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, swap in ((1, False), (2, True)):
        write_video(folder / f"cam{number}.avi", two_walk(swap=swap))
        (folder / f"cam{number}.csv").write_text(truth_text(swap=swap))
    return [str(folder / f"cam{number}.avi") for number in (1, 2)]
