"""Configuration of tracking: which tracker, with which thresholds, and what is kept of each track."""

from __future__ import annotations

from pydantic import Field

from kd_yolo.search.settings import FiniteModel


class TrackRules(FiniteModel):
    """How people are followed through a video, and linked from camera to camera."""

    tracker: str = Field(default="botsort", min_length=1)
    """A tracker of ultralytics (botsort, bytetrack, ...) or the path of a tracker YAML, whose own thresholds then
    apply."""
    start: float = Field(default=0.4, gt=0, lt=1)
    """Minimum score of a box that starts a track; boxes with lower scores, down to 0.1, only continue one."""
    buffer: int = Field(default=30, ge=1, le=1_000_000)
    """Frames to keep a lost track."""
    proximity: float = Field(default=0.5, ge=0, le=1)
    """Minimum IoU of track and box for appearance to be compared (botsort with --reid)."""
    appearance: float = Field(default=0.8, ge=0, le=1)
    """Minimum appearance similarity (1 - distance / 2) to match a box to a track (botsort with --reid)."""
    moving: bool = False
    """The camera moves: compensate its motion (botsort)."""
    min_frames: int = Field(default=3, ge=1)
    """Drop tracks of fewer frames."""
    best: int = Field(default=8, ge=1, le=10_000)
    """Crops kept per track; their mean embedding represents it."""
    link: float | None = Field(default=0.2, ge=0, le=2)
    """Largest mean cosine distance between two tracks of one person (kd-yolo search calibrate); 0 links nothing."""


class LinkRules(FiniteModel):
    """How the tracks of one person are linked."""

    threshold: float = Field(default=0.2, ge=0, le=2)
    """Largest mean cosine distance between two tracks of one person (kd-yolo search calibrate)."""
