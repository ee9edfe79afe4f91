"""The crops of each track that show the person best."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

import numpy as np

from kd_yolo.search.frames.cut import cut
from kd_yolo.search.frames.frame_types import Crop, Floats, Frame, People
from kd_yolo.search.settings import CropRules

RULES = CropRules(conf=1e-6, min_height=16, min_width=6)
APART = 3  # frames between two crops of a track, at least: neighbours show the same


@dataclass
class BestCrops:
    """Keeps the best crops of each track while a video goes by.

    A crop is the better the more certain the detector is, and the less of another box lies on it.

    Attributes:
        number: crops kept of a track.
        num_frames: frames seen so far; images of a folder, which have no number of their own, count one by one.
        held: by track, a heap of (quality, frame, crop), the worst first.
    """

    number: int
    num_frames: int = 0
    held: dict[int, list[tuple[float, int, Crop]]] = field(default_factory=dict)

    def offer(self, frame: Frame, people: People) -> None:
        """Takes what is better than what is held.

        Args:
            frame: the image.
            people: with tracks.
        """
        self.num_frames = max(self.num_frames + 1, frame.index + 1)
        frame = replace(frame, index=self.num_frames - 1)
        quality_m = people.scores_m * (1 - covered(people.boxes_xyxy_m4))
        for place, quality in enumerate(quality_m.tolist()):
            heap = self.held.setdefault(people.track_of(place), [])
            near = [entry for entry in heap if abs(entry[1] - frame.index) < APART]
            rival = min(near, default=heap[0] if len(heap) >= self.number else None)
            if rival is not None and rival[0] >= quality:
                continue
            one = slice(place, place + 1)
            crops = cut(frame, People(people.boxes_xyxy_m4[one], people.scores_m[one], people.tracks_m[one]), RULES)
            if crops:
                self._take(heap, (quality, frame.index, crops[0]), rival)

    def _take(self, heap: list[tuple[float, int, Crop]], entry: tuple[float, int, Crop], rival: object) -> None:
        if rival is not None:
            heap[:] = [other for other in heap if other is not rival]
            heapq.heapify(heap)
        heapq.heappush(heap, entry)

    def of(self, track: int) -> list[Crop]:
        """The crops of a track, the best first."""
        return [crop for _, _, crop in sorted(self.held.get(track, ()), key=lambda entry: (-entry[0], entry[1]))]


def covered(boxes_xyxy_m4: Floats) -> Floats:
    """The largest share of each box (M,) that lies under one other."""
    if len(boxes_xyxy_m4) < 2:
        return np.zeros(len(boxes_xyxy_m4), np.float32)
    low = np.maximum(boxes_xyxy_m4[:, None, :2], boxes_xyxy_m4[None, :, :2])
    high = np.minimum(boxes_xyxy_m4[:, None, 2:], boxes_xyxy_m4[None, :, 2:])
    inside_mm = np.prod(np.maximum(high - low, 0), axis=2)
    np.fill_diagonal(inside_mm, 0)
    area_m = np.maximum(np.prod(boxes_xyxy_m4[:, 2:] - boxes_xyxy_m4[:, :2], axis=1), 1e-6)
    return np.asarray(inside_mm.max(1) / area_m, np.float32)
