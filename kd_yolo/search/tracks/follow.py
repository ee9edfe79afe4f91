"""Follows the people of a video: detector, tracker, the best crops of each track, and its mean embedding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_yolo.base.extras import require
from kd_yolo.data.folder import Record, find_made, write_whole
from kd_yolo.search.frames.frame_types import Crop, Floats, Frame, People
from kd_yolo.search.frames.sources import open_source
from kd_yolo.search.networks.batches import detect_people
from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.networks.embedder_onnx import has_normalisation, with_normalisation
from kd_yolo.search.tracks.best_crops import BestCrops
from kd_yolo.search.tracks.files import GENERATOR, TABLE, Tracks, read_tracks, write_tracks
from kd_yolo.search.tracks.mot import Sightings
from kd_yolo.search.tracks.rules import TrackRules
from kd_yolo.search.tracks.settings import least_score, settings_of

if TYPE_CHECKING:
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.yolo.track import Follower

Say = Callable[[str], None]
VERSION = 2  # raise it whenever the same video and settings give other tracks
SAY_EVERY_S = 5.0


@dataclass(frozen=True)
class TrackTools:
    """What follows people.

    Attributes:
        detector: finds them.
        reid: export of a ReID network; the tracker uses it, and every track gets a mean embedding. None for neither.
        embedder: the same network, opened; None without.
        rules: see :class:`kd_yolo.search.tracks.rules.TrackRules`.
    """

    detector: PersonDetector
    reid: Path | None
    embedder: Embedder | None
    rules: TrackRules


@dataclass
class _TrackedBoxes:
    """The boxes of all tracks so far."""

    best: BestCrops
    frames: list[int] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    num_frames: int = 0
    last_seconds: float | None = None

    def add(self, frame: Frame, people: People) -> None:
        """One frame; images of a folder count as frames one after the other."""
        self.best.offer(frame, people)
        self.num_frames = self.best.num_frames
        self.last_seconds = frame.seconds
        for place, box_xyxy in enumerate(people.boxes_xyxy_m4):
            self.frames.append(self.num_frames)
            self.tracks.append(people.track_of(place))
            self.seconds.append(np.nan if frame.seconds is None else frame.seconds)
            self.boxes.append(box_xyxy)
            self.scores.append(float(people.scores_m[place]))

    def fps(self) -> float:
        """Frames in a second; 0 where the video does not say."""
        return (self.num_frames - 1) / self.last_seconds if self.last_seconds else 0.0


def track_video(video: str, camera: int, folder: Path, tools: TrackTools, say: Say) -> Tracks:
    """Follows the people of one video.

    The folder appears when the video is through. When the command is interrupted, what was found so far is written
    before the interrupt goes on; the next run starts the video again. Tracks that are there already and were made from
    the same video with the same settings are read instead.

    Args:
        video: a file, a folder of frames or a stream, see :func:`kd_yolo.search.frames.sources.open_source`.
        camera: its number.
        folder: gets tracks.txt, tracks.parquet, crops and vectors; earlier tracks of other settings are replaced.
        tools: detector, network and rules.
        say: called with lines of progress.

    Raises:
        InputError: the video cannot be read.
        ConfigError: the folder holds something else; the tracker's settings are wrong.
    """
    key = _key(video, camera, tools)
    wanted = {"key": key, "whole": True}
    if find_made(folder.absolute(), GENERATOR, wanted, {".": "jpg"}, force=True, listing=TABLE):
        say(f"{folder}: these tracks are there already")
        return read_tracks(folder)
    boxes, is_whole = _TrackedBoxes(BestCrops(tools.rules.best)), False
    try:
        _follow(video, camera, tools, boxes, say)
        is_whole = True
    finally:
        if is_whole or boxes.num_frames:
            tracks, crops = _finished(video, camera, boxes, tools, is_whole)
            write_whole(folder.absolute(), lambda partial: write_tracks(partial, tracks, crops, key))
    return tracks


def _key(video: str, camera: int, tools: TrackTools) -> Record:
    """Everything that decides over the tracks."""
    file = Path(video).expanduser()
    stat = file.stat() if file.exists() else None
    detector = {**tools.detector.settings.model_dump(exclude={"device", "batch"}), "hash": tools.detector.hash}
    return {
        "version": VERSION,
        "video": str(file.absolute()) if stat else video,
        "bytes": stat.st_size if stat else 0,
        "mtime_ns": stat.st_mtime_ns if stat else time.time_ns(),  # a stream is never the same again
        "camera": camera,
        "detector": detector,
        "reid": tools.embedder.hash if tools.embedder else "",
        "rules": tools.rules.model_dump(exclude={"link"}),
        "tracker": {name: value for name, value in settings_of(tools.rules, tools.reid).items() if name != "model"},
    }


def _follow(video: str, camera: int, tools: TrackTools, boxes: _TrackedBoxes, say: Say) -> None:
    """Frame by frame to the end of the video."""
    for frame, people in _with_tracks(video, camera, tools, say):
        boxes.add(frame, people)


def _with_tracks(video: str, camera: int, tools: TrackTools, say: Say) -> Iterator[tuple[Frame, People]]:
    """Frames with the people whom the tracker is sure of."""
    require("lap")  # ultralytics' trackers import it
    settings = settings_of(tools.rules, tools.reid)
    follower = _open_follower(settings, tools, say)
    frames = open_source(video, camera=camera, say=say)
    count, begun, said = 0, time.monotonic(), time.monotonic()
    found: Any = detect_people(frames, tools.detector, least_score(settings), tools.detector.settings.batch)
    with closing(found):
        for frame, people in found:
            rows_t6 = follower.update(people.boxes_xyxy_m4, people.scores_m, frame.image_hw3)
            yield frame, _in_frame(rows_t6, frame.image_hw3.shape)
            count, now = count + 1, time.monotonic()
            if now - said > SAY_EVERY_S:
                said = now
                say(f"{video}: {count:,} frames, {count / (now - begun):.1f} a second")


def _open_follower(settings: dict[str, Any], tools: TrackTools, say: Say) -> Follower:
    """The tracker; its network gets the same input as the one that makes the vectors of tracks."""
    from kd_yolo.yolo.track import Follower

    network = Path(str(settings["model"])) if settings.get("with_reid") and tools.reid is not None else None
    if network is None or network.suffix != ".onnx" or has_normalisation(network):
        return Follower.open(settings, tools.detector.settings.device)
    say(f"{network.name} does not normalise its input: ImageNet's mean and deviation are put before it")
    with TemporaryDirectory(prefix="kd-yolo-") as place:
        wrapped = with_normalisation(network, Path(place) / network.name)
        return Follower.open({**settings, "model": str(wrapped)}, tools.detector.settings.device)


def _in_frame(rows_t6: Floats, shape: tuple[int, ...]) -> People:
    """The boxes of the tracks, clipped; those beside the frame are left out."""
    boxes_t4 = np.clip(rows_t6[:, :4], 0, [shape[1], shape[0], shape[1], shape[0]]).astype(np.float32)
    kept = (boxes_t4[:, 2] > boxes_t4[:, 0]) & (boxes_t4[:, 3] > boxes_t4[:, 1])
    return People(boxes_t4[kept], rows_t6[kept, 5], rows_t6[kept, 4].astype(np.int64))


def _finished(
    video: str, camera: int, boxes: _TrackedBoxes, tools: TrackTools, is_whole: bool
) -> tuple[Tracks, list[Crop]]:
    """The tracks that are long enough, and their crops."""
    ids = np.array(boxes.tracks, np.int64)
    numbers, counts = np.unique(ids, return_counts=True)
    numbers = numbers[counts >= tools.rules.min_frames]
    kept = np.isin(ids, numbers)
    every = Sightings.of(boxes.frames, ids, np.array(boxes.boxes).reshape(-1, 4))
    crops = [boxes.best.of(int(number)) for number in numbers]
    tracks_t, vectors_td = _vectors(crops, tools.embedder)
    tracks = Tracks(
        source=video, camera=camera, num_frames=boxes.num_frames, fps=round(boxes.fps(), 3), whole=is_whole,
        sightings=every.where(kept), seconds_n=np.array(boxes.seconds, np.float32)[kept],
        scores_n=np.array(boxes.scores, np.float32)[kept], tracks_t=tracks_t, vectors_td=vectors_td,
        network=tools.embedder.hash if tools.embedder else "",
    )  # fmt: skip
    return tracks, [crop for some in crops for crop in some]


def _vectors(crops: list[list[Crop]], embedder: Embedder | None) -> tuple[Any, Floats]:
    """Numbers of the tracks that have crops, and the mean of their crops' embeddings, of unit length."""
    shown = [some for some in crops if some]
    if embedder is None or not shown:
        return np.empty(0, np.int64), np.empty((0, embedder.dim if embedder else 0), np.float32)
    vectors_nd = embedder.embed([crop.image_hw3 for some in shown for crop in some])
    ends = np.cumsum([len(some) for some in shown])[:-1]
    mean_td = np.array([part.mean(0) for part in np.split(vectors_nd, ends)])
    unit_td = mean_td / np.maximum(np.linalg.norm(mean_td, axis=1, keepdims=True), 1e-12)
    return np.array([some[0].track for some in shown], np.int64), unit_td.astype(np.float32)
