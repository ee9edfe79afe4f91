"""Several videos: their tracks, who is the same person in them, drawings, and scores where the truth is known."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_json, write_text
from kd_yolo.base.order import natural_key
from kd_yolo.search.frames.camera_numbers import number_inputs
from kd_yolo.search.frames.listing import IMAGES
from kd_yolo.search.frames.sources import VIDEOS, find_inputs
from kd_yolo.search.tracks.annotate import annotate_video
from kd_yolo.search.tracks.clustering import link_tracks
from kd_yolo.search.tracks.files import Tracks, read_tracks
from kd_yolo.search.tracks.follow import TrackTools, track_video
from kd_yolo.search.tracks.idf1 import TrackScores, score_tracks, summed
from kd_yolo.search.tracks.mot import Ints, Sightings, joined, read_truth

PERSONS, METRICS = "persons.csv", "metrics.json"
ALL, SUMMED, LINKED = "all cameras", "all videos, summed", "linked"
Persons = dict[int, int]  # the person of each track of a video
Say = Callable[[str], None]


@dataclass(frozen=True)
class LinkedTracks:
    """The tracks of all videos, and whose they are.

    Attributes:
        names: of the videos' folders.
        tracks: of each video.
        persons: of each video.
    """

    names: list[str]
    tracks: list[Tracks]
    persons: list[Persons]

    @property
    def num_persons(self) -> int:
        """How many different people there are."""
        return len({person for each in self.persons for person in each.values()})


def track_all(videos: Sequence[str], folder: Path, tools: TrackTools, say: Say) -> LinkedTracks:
    """Follows people through videos, each into a folder of its own, and links their tracks.

    Args:
        videos: see :func:`kd_yolo.search.frames.sources.open_source`; one per camera, or several of one camera (as
            ``cam1-a.mp4``).
        folder: gets one folder per video, and ``persons.csv``.
        tools: detector, network and rules.
        say: called with lines of progress.

    Raises:
        InputError: a video is not there; nothing was followed then.
        ConfigError: the same video twice.
    """
    names = folder_names(videos)
    for video in videos:
        find_inputs(video)
    cameras = number_inputs({video: video for video in videos})
    tracks = []
    for video, name in zip(videos, names, strict=True):
        found = track_video(video, cameras[video].camera, folder / name, tools, say)
        say(f"{name}: {found.num_frames:,} frames, {len(found.numbers()):,} tracks")
        tracks.append(found)
    return link_all(names, tracks, tools.rules.link, folder)


def folder_names(videos: Sequence[str]) -> list[str]:
    """A name for each video: its own, with that of its folder where others have the same.

    Raises:
        ConfigError: the same video twice.
    """
    twice = sorted({video for video in videos if videos.count(video) > 1})
    if twice:
        raise ConfigError(f"{', '.join(twice)}: named twice; name each video once.")
    stems = [_stem(video) for video in videos]
    wanted = [
        stem if stems.count(stem) == 1 else _with_parent(video) for video, stem in zip(videos, stems, strict=True)
    ]
    names: list[str] = []
    for name in wanted:
        tries = (name, *(f"{name}-{number}" for number in range(2, len(videos) + 2)))
        names.append(next(one for one in tries if one not in names))
    return names


def _stem(video: str) -> str:
    """A name for a folder, of characters that are safe in one: ``cam1`` of ``/x/cam1.mp4``."""
    if "://" in video:
        return _safe(Path(video.rstrip("/").rpartition("@")[2].partition("?")[0]).stem)
    file = Path(os.path.abspath(video))  # noqa: PTH100  # .. has a name too; links stay what they are called
    return _safe(file.stem if file.suffix.lower() in VIDEOS | IMAGES | {".txt"} else file.name)


def _with_parent(video: str) -> str:
    """``MOT17-02-FRCNN`` of ``MOT17-02-FRCNN/img1``, ``hall-cam1`` of ``hall/cam1.mp4``."""
    if "://" in video:
        return _stem(video)
    file = Path(os.path.abspath(video))  # noqa: PTH100
    parent = _safe(file.parent.name)
    return parent if file.suffix.lower() not in VIDEOS | IMAGES | {".txt"} else f"{parent}-{_stem(video)}"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII if not name.isprintable() else 0).strip("-.") or "video"


def read_all(folder: Path) -> tuple[list[str], list[Tracks]]:
    """The tracks of a run.

    Raises:
        InputError: there are none.
    """
    found = sorted((file.parent for file in folder.glob("*/tracks.parquet")), key=natural_key)
    if not found:
        raise InputError(f"{folder} holds no tracks: run kd-yolo search track VIDEO... --out {folder}")
    tracks = [read_tracks(place) for place in found]
    return [place.name for place in found], tracks


def link_all(names: Sequence[str], tracks: Sequence[Tracks], threshold: float | None, folder: Path) -> LinkedTracks:
    """Gives every track its person and writes ``persons.csv``.

    Args:
        names: of the videos.
        tracks: of the videos.
        threshold: largest mean cosine distance within a person; None: every track is a person.
        folder: of the run.

    Raises:
        InputError: the tracks' vectors come from several networks.
    """
    networks = sorted({found.network for found in tracks if len(found.tracks_t)})
    if threshold is not None and len(networks) > 1:
        raise InputError(f"the tracks' vectors come from the networks {', '.join(networks)}: track all with one.")
    keys = [(place, int(number)) for place, found in enumerate(tracks) for number in found.tracks_t]
    linked: Ints = np.arange(1, len(keys) + 1)
    if threshold is not None and keys:
        vectors_nd = np.concatenate([found.vectors_td for found in tracks if len(found.tracks_t)])
        spans = [replace(tracks[place].span(number), video=place) for place, number in keys]
        linked = link_tracks(vectors_nd, spans, threshold)
    persons: list[Persons] = [{} for _ in tracks]
    for (place, number), person in zip(keys, linked, strict=True):
        persons[place][number] = int(person)
    _number_the_rest(tracks, persons, int(linked.max(initial=0)))
    result = LinkedTracks(list(names), list(tracks), persons)
    write_text(folder / PERSONS, _table(result))
    return result


def _number_the_rest(tracks: Sequence[Tracks], persons: list[Persons], last: int) -> None:
    """Tracks without a vector are people of their own."""
    for found, known in zip(tracks, persons, strict=True):
        for number in found.numbers():
            if number not in known:
                last += 1
                known[number] = last


def _table(linked: LinkedTracks) -> str:
    """A line a track, by person and time."""
    rows = [
        (persons[number], name, found.camera, number, found.span(number).first - 1, found.span(number).last - 1)
        for name, found, persons in zip(linked.names, linked.tracks, linked.persons, strict=True)
        for number in found.numbers()
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("person", "video", "camera", "track", "first_frame", "last_frame"))
    writer.writerows(sorted(rows))
    return buffer.getvalue()


def draw_all(linked: LinkedTracks, folder: Path, say: Say) -> list[Path]:
    """Writes each video with the numbers of the people; what cannot be read again is said and left out."""
    written = []
    for name, found, persons in zip(linked.names, linked.tracks, linked.persons, strict=True):
        try:
            written.append(annotate_video(found, persons, folder / f"{name}.mp4", say))
        except InputError as error:
            say(f"warning: no drawing: {error}")
    return written


def check_truths(truths: Sequence[Path], num_videos: int, *, same_people: bool = False, linked: bool = True) -> None:
    """Reads the truths, so that what is wrong with them is said before the work.

    Args:
        truths: files.
        num_videos: how many there should be.
        same_people: people are to be scored over all videos.
        linked: tracks are joined over all videos by a network.

    Raises:
        ConfigError: not one truth for each video, or people are to be scored that nothing joins.
        InputError: a truth cannot be read.
    """
    if truths and len(truths) != num_videos:
        raise ConfigError(f"--truth names {len(truths)} file(s) for {num_videos} video(s): one for each is needed.")
    if same_people and (len(truths) < 2 or not linked):
        raise ConfigError(
            "--same-people scores people over all videos: it needs --truth for two videos or more, and --reid."
        )
    for file in truths:
        read_truth(file)


def score_all(
    linked: LinkedTracks, truths: Sequence[Path], folder: Path, *, same_people: bool = False
) -> dict[str, TrackScores]:
    """Scores of each video's tracks, of each video's people, and of all videos.

    Sequences that have nothing to do with each other, as those of MOTChallenge, all number their people from 1: their
    boxes are summed. Only where the user says that a number is one person in all truths, the videos are scored as one.

    Args:
        linked: tracks with their people.
        truths: MOTChallenge's text for each video, in their order.
        folder: gets ``metrics.json``.
        same_people: the truths number a person alike in all videos.

    Raises:
        InputError: a truth cannot be read.
    """
    true, scores = [read_truth(file) for file in truths], dict[str, TrackScores]()
    people = [_as_people(found, persons) for found, persons in zip(linked.tracks, linked.persons, strict=True)]
    is_linked = any(found.network for found in linked.tracks)
    for place, name in enumerate(linked.names):
        scores[name] = score_tracks(true[place], linked.tracks[place].sightings)
        if is_linked:
            scores[f"{name}, {LINKED}"] = score_tracks(true[place], people[place])
    if len(true) > 1:
        scores[SUMMED] = summed([scores[name] for name in linked.names])
        if is_linked:
            scores[f"{SUMMED}, {LINKED}"] = summed([scores[f"{name}, {LINKED}"] for name in linked.names])
        if same_people:
            scores[ALL] = _score_as_one(linked, true, people)
    content = {name: score.as_dict() for name, score in scores.items()}
    write_json(folder / METRICS, content)
    return scores


def _score_as_one(linked: LinkedTracks, true: Sequence[Sightings], people: Sequence[Sightings]) -> TrackScores:
    """The people of all videos, one film after the other."""
    lengths = [
        max(found.num_frames, int(part.frames_n.max(initial=0)))
        for found, part in zip(linked.tracks, true, strict=True)
    ]
    return score_tracks(joined(true, lengths), joined(people, lengths))


def _as_people(found: Tracks, persons: Mapping[int, int]) -> Sightings:
    """The sightings of a video with the numbers of people for those of tracks."""
    ids_n = np.array([persons[int(number)] for number in found.sightings.ids_n], np.int64)
    return replace(found.sightings, ids_n=ids_n)
