"""``kd-yolo search track`` and ``link``: follows people through videos and from camera to camera."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.run import parse_flags, run_guarded

if TYPE_CHECKING:
    from kd_yolo.search.tracks.follow import TrackTools
    from kd_yolo.search.tracks.idf1 import TrackScores
    from kd_yolo.search.tracks.rules import TrackRules
    from kd_yolo.search.tracks.run import Linked

DESCRIPTIONS = {
    "track": "Follows people through videos (a file, a folder of frames, a stream), draws and scores the tracks; with"
    " --reid tracks of one person are joined over all videos. An interrupted run is continued by the same command.",
    "link": "Joins the tracks of a run again, with another threshold.",
}
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
FOLDERS_SHOWN = 5
RULES = ("tracker", "start", "buffer", "proximity", "appearance", "moving", "min_frames", "best")


@dataclass(frozen=True)
class Track:
    """Flags of ``track``."""

    videos: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos, one a camera; cam1.mp4 is camera 1."""
    weights: str = "yolov8n.pt"
    """The detector, a .pt file: official, pruned or distilled."""
    reid: Path | None = None
    """Export of a ReID network (kd-yolo reid export): for the tracker, and to join tracks of one person."""
    tracker: str | None = None
    """One of ultralytics' trackers: botsort (default), bytetrack (never uses looks), ocsort, ..., or a tracker YAML."""
    truth: tuple[Path, ...] = ()
    """The truth of each video, lines as in MOTChallenge: prints IDF1 and identity switches."""
    same_people: Flag = False
    """The truths number a person alike in all videos: scores people over all videos too (with --reid)."""
    out: Path | None = None
    """Folder of the results (default: runs/search/track, track-2, ...)."""
    link: float | None = None
    """Largest mean cosine distance between the tracks of one person, see kd-yolo search calibrate (default: 0.2);
    0 joins nothing."""
    start: float | None = None
    """Least score of a box that begins a track (default: 0.4); lower ones prolong a track."""
    buffer: int | None = None
    """Frames for which a lost track is waited for (default: 30)."""
    proximity: float | None = None
    """Least overlap of boxes for their looks to count (botsort with --reid; default: 0.5)."""
    appearance: float | None = None
    """Least likeness of looks, 1 - distance / 2, that joins a box to a track (botsort with --reid; default: 0.8)."""
    moving: Flag = False
    """The camera moves: take its motion out (botsort)."""
    min_frames: int | None = None
    """Shorter tracks are left out (default: 3)."""
    best: int | None = None
    """Crops kept of a track (default: 8)."""
    person: str = "person"
    """Name of the detector's class of people; the only class of a one-class model counts anyway."""
    imgsz: int = 640
    """Longer side of the detector's input in pixels."""
    device: str | None = None
    """cpu, cuda, or a GPU's number (default: a GPU where there is one)."""
    no_video: Flag = False
    """Do not write videos with boxes."""


@dataclass(frozen=True)
class Link:
    """Flags of ``link``."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Results of kd-yolo search track --reid."""
    threshold: float = 0.2
    """Largest mean cosine distance between the tracks of one person."""
    truth: tuple[Path, ...] = ()
    """The truth of each video, in the order of their folders' names (cam2 before cam10)."""
    same_people: Flag = False
    """The truths number a person alike in all videos: scores people over all videos too."""
    no_video: Flag = False
    """Do not write the videos with boxes again."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo search") -> int:
    """Runs the command, the first word, and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    kinds: dict[str, type[Any]] = {"track": Track, "link": Link}
    if not words or words[0] not in kinds:
        lines = "\n".join(f"  {name:6} {text}" for name, text in DESCRIPTIONS.items())
        print(f"usage: {prog} <{'|'.join(kinds)}> [flags]\n\n{lines}")
        return 0 if words and words[0] in {"-h", "--help"} else 2
    name = words[0]
    flags = parse_flags(kinds[name], words[1:], prog=f"{prog} {name}", description=DESCRIPTIONS[name])
    commands: dict[str, Callable[[Any], None]] = {"track": _track, "link": _link}
    return run_guarded(lambda: commands[name](flags), detector=name == "track")


def _track(flags: Track) -> None:
    from kd_yolo.search.frames.listing import check_folder, check_names

    check_names(flags)
    check_folder(flags.out)
    if not flags.videos:
        raise ConfigError("name a video: a file, a folder of frames, or the address of a stream.")
    rules = _rules(flags)
    from kd_yolo.base.places import reserved
    from kd_yolo.search.tracks.run import check_truths

    check_truths(flags.truth, len(flags.videos), same_people=flags.same_people, linked=flags.reid is not None)
    with nullcontext(flags.out) if flags.out else reserved(Path("runs/search/track")) as folder:
        _track_into(folder, flags, rules)


def _track_into(folder: Path, flags: Track, rules: TrackRules) -> None:
    from kd_yolo.search.tracks.run import score_all, track_all

    try:
        linked = track_all(flags.videos, folder, _tools(flags, rules), say)
    except KeyboardInterrupt:
        print(f"\nwhat is done is kept; go on with the same command and --out {folder}", file=sys.stderr)
        raise
    _draw(linked, folder, wanted=not flags.no_video)
    if flags.truth:
        _print_scores(score_all(linked, flags.truth, folder, same_people=flags.same_people))
    _finish(folder, linked, has_network=flags.reid is not None)


def _rules(flags: Track) -> TrackRules:
    from kd_yolo.search.tracks.rules import TrackRules
    from kd_yolo.search.tracks.settings import check_used

    values = {name: getattr(flags, name) for name in (*RULES, "link")}
    given = {name: value for name, value in values.items() if value is not None and value is not False}
    no_link = {"link": None} if flags.link == 0 else {}
    rules = TrackRules.parse({**given, **no_link}, "kd-yolo search track")
    check_used(rules, given, flags.reid)
    return rules


def _tools(flags: Track, rules: TrackRules) -> TrackTools:
    from kd_yolo.base.places import find_weights
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.settings import DetectorSettings
    from kd_yolo.search.tracks.follow import TrackTools

    given = {"weights": flags.weights, "person": flags.person, "imgsz": flags.imgsz, "device": flags.device}
    settings = DetectorSettings.parse({**given, "weights": find_weights(flags.weights)}, "kd-yolo search track")
    embedder = Embedder.open(flags.reid, settings.device) if flags.reid else None
    return TrackTools(PersonDetector.open(settings), flags.reid, embedder, rules)


def _link(flags: Link) -> None:
    from kd_yolo.search.frames.listing import check_names

    check_names(flags)
    from kd_yolo.search.tracks.rules import LinkRules
    from kd_yolo.search.tracks.run import check_truths, link_all, read_all, score_all

    LinkRules.parse({"threshold": flags.threshold}, "kd-yolo search link")
    names, tracks = read_all(flags.folder)
    has_network = any(found.network for found in tracks)
    check_truths(flags.truth, len(names), same_people=flags.same_people, linked=has_network)
    linked = link_all(names, tracks, flags.threshold, flags.folder)
    _draw(linked, flags.folder, wanted=not flags.no_video)
    if flags.truth:
        _print_scores(score_all(linked, flags.truth, flags.folder, same_people=flags.same_people))
    _finish(flags.folder, linked, has_network=has_network)


def _draw(linked: Linked, folder: Path, *, wanted: bool) -> None:
    from kd_yolo.search.tracks.run import draw_all

    if wanted:
        draw_all(linked, folder, say)


def _print_scores(scores: Mapping[str, TrackScores]) -> None:
    width = max(len(name) for name in scores)
    for name, score in scores.items():
        print(
            f"{name:{width}}  IDF1 {score.idf1:.3f} (IDP {score.idp:.3f}, IDR {score.idr:.3f}),"
            f" {score.switches} identity switches, MOTA {score.mota:.3f}, {score.misses} of {score.num_true} missed,"
            f" {score.false} false; {score.tracks} tracks of {score.people} people"
        )


def _finish(folder: Path, linked: Linked, *, has_network: bool) -> None:
    tracks = sum(len(found.numbers()) for found in linked.tracks)
    print(f"{tracks:,} tracks" + (f" of {linked.num_persons:,} people" if has_network else ""))
    print_results(folder, ("persons.csv", *(f"{name}/" for name in linked.names[:FOLDERS_SHOWN])))
    if has_network:
        print_next(f"kd-yolo search link {shell_path(folder)} --threshold 0.1  # fewer tracks joined")
    else:
        print_next("the same with --reid reid.onnx joins the tracks of one person over all videos")
