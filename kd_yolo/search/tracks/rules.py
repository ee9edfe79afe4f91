"""Configuration of tracking: which tracker, with which thresholds, and what is kept of each track."""

from __future__ import annotations

from pydantic import Field

from kd_yolo.search.settings import FiniteModel


class TrackRules(FiniteModel):
    """How people are followed through a video, and linked from camera to camera.

    Attributes:
        tracker: one of the installed ultralytics (``botsort``, ``bytetrack``, ...), or the path of a tracker YAML as
            ultralytics takes it; a YAML's own thresholds stay, and ``start``, ``buffer``, ``proximity``, ``appearance``
            and ``moving`` do not count.
        start: least score of a box that begins a track or is matched first; boxes down to 0.1 prolong a track.
        buffer: frames for which a lost track is waited for.
        proximity: least overlap of boxes for their looks to count (with a ReID network).
        appearance: least likeness, 1 - distance / 2, for looks to join a box to a track.
        moving: the camera moves: its motion is estimated and taken out.
        min_frames: shorter tracks are left out.
        best: crops kept of a track; their mean embedding stands for it.
        link: largest mean cosine distance between the tracks of one person; None does not link.
    """

    tracker: str = Field(default="botsort", min_length=1)
    start: float = Field(default=0.4, gt=0, lt=1)
    buffer: int = Field(default=30, ge=1, le=1_000_000)
    proximity: float = Field(default=0.5, ge=0, le=1)
    appearance: float = Field(default=0.8, ge=0, le=1)
    moving: bool = False
    min_frames: int = Field(default=3, ge=1)
    best: int = Field(default=8, ge=1, le=10_000)
    link: float | None = Field(default=0.2, ge=0, le=2)


class LinkRules(FiniteModel):
    """``threshold``: largest mean cosine distance between the tracks of one person."""

    threshold: float = Field(default=0.2, ge=0, le=2)
