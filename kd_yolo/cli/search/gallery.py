"""``kd-yolo search index | query | calibrate | forget``: what is done with a gallery of people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import first_few, printable
from kd_yolo.cli.closing import print_next, print_results, say, shell_path
from kd_yolo.cli.paths import check_names, parse_detector
from kd_yolo.cli.run import parse_flags, run_guarded
from kd_yolo.cli.search.flags import ABOUT, Calibrate, Forget, Index, Query

if TYPE_CHECKING:
    from kd_yolo.search.frames.frame_types import ImageHW3
    from kd_yolo.search.gallery.crop_sources import CropSource
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.gallery.query import Match
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.settings import DetectorSettings

KINDS: dict[str, type[Any]] = {"index": Index, "query": Query, "calibrate": Calibrate, "forget": Forget}
SKIPPED_SHOWN = 3


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo search") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else ""
    if name not in KINDS:
        print(f"usage: {prog} <{'|'.join(KINDS)}> [flags]")
        return 2
    flags = parse_flags(KINDS[name], words[1:], prog=f"{prog} {name}", description=ABOUT[name])
    commands: dict[str, Callable[[Any], None]] = {
        "index": _index, "query": _query, "calibrate": _calibrate, "forget": _forget,
    }  # fmt: skip

    def run() -> None:
        check_names(flags)
        commands[name](flags)

    return run_guarded(run, detector=False)


def _index(flags: Index) -> None:
    from kd_yolo.search.gallery.indexing import index_crops

    sources = _listed(flags.crops, flags.subset)
    gallery, embedder = _gallery_for(flags)
    try:
        report = index_crops(gallery, embedder, sources, say)
    except KeyboardInterrupt:
        print(f"\n{len(gallery):,} crops are in {flags.gallery}; the same command goes on.", file=sys.stderr)
        raise
    gallery.build()
    if report.changed:
        count = f"{len(report.changed):,} image{'s' if len(report.changed) > 1 else ''}"
        print(f"{count} changed since they were indexed: their crops are replaced ({first_few(report.changed, 3)})")
    for line in report.skipped[:SKIPPED_SHOWN]:
        print(f"warning: {printable(line)}")
    print(f"{report.added:,} crops added, {report.known:,} were in already, {len(report.skipped):,} cannot be read")
    print_results(flags.gallery, note=f"{len(gallery):,} crops, index {gallery.kind}")
    print_next(f"kd-yolo search query ... --gallery {shell_path(flags.gallery)}  # a crop of a person")


def _listed(folder: Path, subset: str | None) -> list[CropSource]:
    """The crops of a folder; says what it was taken for."""
    from kd_yolo.search.gallery.crop_sources import list_crops

    found = list_crops(folder, subset)
    for line in (f"{folder}: {len(found.sources):,} {found.what}", *found.notes):
        print(printable(line))
    return found.sources


def _gallery_for(flags: Index) -> tuple[Gallery, Embedder]:
    """The gallery, made if there is none, and its network."""
    from kd_yolo.search.gallery.files import is_gallery
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.networks.embedder import Embedder

    if is_gallery(flags.gallery):
        gallery = Gallery.open(flags.gallery)
        embedder = _embedder_of(gallery, flags.weights, flags.device)
        kind = flags.kind if "kind" in flags.model_fields_set else gallery.kind
    else:
        if flags.weights is None:
            raise ConfigError(f"--weights is missing: {flags.gallery} is new. Give a checkpoint of kd-yolo reid train.")
        embedder, kind = Embedder.open(flags.weights, flags.device), flags.kind
    weights = str(embedder.weights.absolute())
    return Gallery.create(flags.gallery, embedder.hash, embedder.dim, kind, weights), embedder


def _embedder_of(gallery: Gallery, weights: Path | None, device: str | None) -> Embedder:
    """The network that made a gallery: as given, else where it was then.

    Raises:
        InputError: it is not there, or is another one.
    """
    from kd_yolo.search.networks.embedder import Embedder

    if weights is None and not Path(gallery.weights or ".").is_file():
        raise InputError(
            f"the network of {gallery.folder} is not where it was ({gallery.weights or 'not said'}): say where with"
            " --weights."
        )
    embedder = Embedder.open(weights or Path(gallery.weights), device)
    gallery.check_model(embedder)
    return embedder


def _query(flags: Query) -> None:
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.gallery.query import nearest_crops
    from kd_yolo.search.gallery.ranking_image import check_target, draw_ranking
    from kd_yolo.search.settings import QueryRules

    rules = QueryRules.parse(flags.rules, "kd-yolo search query")
    check_target(flags.out)
    if flags.whole and (flags.detector or rules.nth):
        raise ConfigError("--whole searches for all of the image: leave out --detector and --nth.")
    if not flags.image.exists():
        raise InputError(f"no image {flags.image}: query takes a crop of a person.")
    gallery = Gallery.open(flags.gallery)
    embedder = _embedder_of(gallery, flags.weights, flags.device)
    image_hw3 = _asked(flags, rules.nth)
    vector_d = embedder.embed([image_hw3])[0]
    matches = nearest_crops(gallery, vector_d, rules.top, rerank=flags.rerank, threshold=rules.threshold)
    _print_matches(matches)
    draw_ranking(image_hw3, matches, flags.out)
    if matches[0].is_same is None:
        print("\nno threshold: kd-yolo search calibrate --pairs FOLDER says which distance means the same person")
    print_results(flags.out)
    print_next(f"kd-yolo search serve --gallery {shell_path(flags.gallery)} --reid {shell_path(embedder.weights)}")


def _asked(flags: Query, nth: int | None) -> ImageHW3:
    """Who is looked for, RGB: the image, or a person found in it."""
    from kd_yolo.search.frames.crop_files import read_crop
    from kd_yolo.search.gallery.query_image import is_crop_shaped, person_in

    image_hw3 = read_crop(flags.image)
    is_said = bool(flags.detector or nth)
    if flags.whole or (not is_said and is_crop_shaped(flags.image)):
        return image_hw3
    settings = parse_detector({**flags.detector, "device": flags.device}, "kd-yolo search query")
    if not is_said:
        print(f"{printable(flags.image)} looks like a whole image, not like a crop of a person")
        if not Path(settings.weights).is_file():
            print(
                f"warning: it is searched for as a whole: there is no {settings.weights} here to find the people in it."
                " Name a detector with --detector, or a crop; --whole leaves this line out."
            )
            return image_hw3
    return person_in(flags.image, _detector(settings), nth, say)


def _detector(settings: DetectorSettings) -> PersonDetector:
    """Opens a detector; the process is prepared first, as for every command that uses one."""
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.yolo.guard import check_ultralytics, prepare_process

    prepare_process()
    check_ultralytics()
    return PersonDetector.open(settings)


def _print_matches(matches: Sequence[Match]) -> None:
    from kd_yolo.search.gallery.ranking_image import time_of, verdict_of

    print(f"{'rank':>4}  distance  {'':6}  {'crop':>7}  camera  {'time':>7}  person  source")
    for match in matches:
        row = match.row
        print(
            f"{match.rank:4}  {match.distance:8.4f}  {verdict_of(match):6}  {match.place:7}  {row['camera']:6}"
            f"  {time_of(row['seconds']):>7}  {printable(row['identity'] or '-'):6}  {printable(row['source'])} frame"
            f" {row['frame']}"
        )


def _calibrate(flags: Calibrate) -> None:
    from kd_yolo.search.gallery.calibrate import calibrate, is_worse
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.gallery.indexing import embed_crops

    gallery = Gallery.open(flags.gallery)
    embedder = _embedder_of(gallery, flags.weights, flags.device)
    sources = _listed(flags.pairs, flags.subset)
    vectors_nd, rows = embed_crops(embedder, sources)
    found = calibrate(vectors_nd, [row.get("identity") for row in rows], flags.far, [row["camera"] for row in rows])
    kept, before = found.threshold, gallery.threshold
    print(f"pairs of one person: {kept.positives:,}; of two: {kept.negatives:,}")
    print(f"threshold {kept.distance:.4f}: takes {kept.far:.3%} of strangers for the person, misses {kept.frr:.2%}")
    print(f"with 95 % confidence it takes at most {found.far_at_most:.3%} of strangers, were the pairs independent")
    for note in found.notes:
        print(f"warning: {note}")
    if before is not None and not flags.force and is_worse(kept, before):
        raise InputError(
            f"the threshold {kept.distance:.4f} is not kept: {flags.gallery} has {before.distance:.4f} from"
            f" {before.negatives:,} pairs of two people, these are {kept.negatives:,}. Give more crops of more people,"
            " or replace it with --force."
        )
    gallery.set_threshold(kept)
    print_results(flags.gallery, note="the threshold is kept in it")
    print_next(f"kd-yolo search query ... --gallery {shell_path(flags.gallery)}  # a crop of a person")


def _forget(flags: Forget) -> None:
    from kd_yolo.search.gallery.forget import CropFilter, find_crops, forget
    from kd_yolo.search.gallery.gallery import Gallery
    from kd_yolo.search.settings import ForgetRules

    rules = ForgetRules.parse(flags.rules, "kd-yolo search forget")
    between = None
    if rules.start is not None or rules.end is not None:
        between = (0.0 if rules.start is None else rules.start, float("inf") if rules.end is None else rules.end)
    which = CropFilter(flags.person, rules.track, flags.places, flags.source, between)
    if flags.dry_run:
        found = find_crops(flags.gallery, which)
        print(f"{len(found.places):,} crops would be removed, {found.left:,} stay; nothing was changed")
        return
    found = forget(flags.gallery, which)
    Gallery.open(flags.gallery).build()
    print(f"{len(found.places):,} crops removed with their embeddings, rows and images; {found.left:,} stay")
    print("not removed: the videos and crops that they came from, drawn rankings and backups")
    print_results(flags.gallery)
    print_next(f"kd-yolo search query ... --gallery {shell_path(flags.gallery)}  # a crop of a person")
