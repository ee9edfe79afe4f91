"""``kd-yolo search track`` and ``link``: follows people through videos and from camera to camera."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About
from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.cli.paths import check_folder, check_names, parse_detector
from kd_yolo.cli.run import parse_flags, run_guarded
from kd_yolo.search.settings import DetectorSettings
from kd_yolo.search.tracks.rules import LinkRules, TrackRules

if TYPE_CHECKING:
    from kd_yolo.search.tracks.follow import TrackTools
    from kd_yolo.search.tracks.idf1 import TrackScores
    from kd_yolo.search.tracks.run import LinkedTracks

ABOUT = {
    "track": About(
        """Follows people through videos, draws the tracks and scores them against ground truth; with --reid the tracks
        of one person are linked over all videos. Run the same command again to continue an interrupted run.""",
        "kd-yolo search track cam1.mp4 cam2.mp4 --reid runs/reid/resnet50/weights/best.onnx",
    ),
    "link": About(
        "Links the tracks of a finished run again, with another threshold.",
        "kd-yolo search link runs/search/track --threshold 0.15",
    ),
}
FOLDERS_SHOWN = 5


class TruthFlags(Flags):
    """Flags of what is scored and drawn."""

    truth: tuple[Path, ...] = ()
    """Ground truth of each video in MOTChallenge format: prints IDF1 and identity switches."""
    same_people: bool = False
    """Identities in the ground truth are the same in all videos: also scores people over all videos (with --reid)."""
    no_video: bool = False
    """Do not write videos with boxes."""


class Track(TruthFlags):
    """Flags of ``track``."""

    videos: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos, folders of frames or streams, one per camera; cam1.mp4 is camera 1."""
    detector: Annotated[Given, FlagsOf(DetectorSettings, ("weights", "person", "imgsz", "device"))]
    reid: Path | None = None
    """Export of a ReID network (kd-yolo reid export), for the tracker and to link the tracks of one person (default:
    none)."""
    rules: Annotated[Given, FlagsOf(TrackRules, tuple(TrackRules.model_fields))]
    out: Path | None = None
    """Folder of the results (default: runs/search/track, track-2, ...)."""


class Link(TruthFlags):
    """Flags of ``link``."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Results of kd-yolo search track --reid; --truth in the order of its folders (cam2 before cam10)."""
    rules: Annotated[Given, FlagsOf(LinkRules, tuple(LinkRules.model_fields))]


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo search") -> int:
    """Runs the command, the first word, and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    kinds: dict[str, type[Any]] = {"track": Track, "link": Link}
    if not words or words[0] not in kinds:
        print(f"usage: {prog} <{'|'.join(kinds)}> [flags]")
        return 0 if words and words[0] in {"-h", "--help"} else 2
    name = words[0]
    flags = parse_flags(kinds[name], words[1:], prog=f"{prog} {name}", description=ABOUT[name])
    commands: dict[str, Callable[[Any], None]] = {"track": _track, "link": _link}
    return run_guarded(lambda: commands[name](flags), detector=name == "track")


def _track(flags: Track) -> None:
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
    from kd_yolo.search.tracks.settings import check_used

    rules = TrackRules.parse(flags.rules, "kd-yolo search track")
    rules = rules if rules.link else rules.model_copy(update={"link": None})
    check_used(rules, flags.rules, flags.reid)
    return rules


def _tools(flags: Track, rules: TrackRules) -> TrackTools:
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.tracks.follow import TrackTools

    settings = parse_detector(flags.detector, "kd-yolo search track")
    embedder = Embedder.open(flags.reid, settings.device) if flags.reid else None
    return TrackTools(PersonDetector.open(settings), flags.reid, embedder, rules)


def _link(flags: Link) -> None:
    check_names(flags)
    from kd_yolo.search.tracks.run import check_truths, link_all, read_all, score_all

    rules = LinkRules.parse(flags.rules, "kd-yolo search link")
    names, tracks = read_all(flags.folder)
    has_network = any(found.network for found in tracks)
    check_truths(flags.truth, len(names), same_people=flags.same_people, linked=has_network)
    linked = link_all(names, tracks, rules.threshold, flags.folder)
    _draw(linked, flags.folder, wanted=not flags.no_video)
    if flags.truth:
        _print_scores(score_all(linked, flags.truth, flags.folder, same_people=flags.same_people))
    _finish(flags.folder, linked, has_network=has_network)


def _draw(linked: LinkedTracks, folder: Path, *, wanted: bool) -> None:
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


def _finish(folder: Path, linked: LinkedTracks, *, has_network: bool) -> None:
    tracks = sum(len(found.numbers()) for found in linked.tracks)
    print(f"{tracks:,} tracks" + (f" of {linked.num_persons:,} people" if has_network else ""))
    print_results(folder, ("persons.csv", *(f"{name}/" for name in linked.names[:FOLDERS_SHOWN])))
    if has_network:
        print_next(f"kd-yolo search link {shell_path(folder)} --threshold 0.1  # fewer tracks joined")
    else:
        print_next("the same with --reid reid.onnx joins the tracks of one person over all videos")
