"""What a detector costs a search across cameras, and what a ReID network brings a tracker, on the built-in film.

    python benchmarks/search_end_to_end.py --reid reid.onnx --detector distilled=best.pt teacher=teacher.pt --imgsz 320

Nobody of the film is in the sets that detectors and ReID networks are trained on. Crops are cut by the rules of
``kd-yolo crops``, at true boxes and at those of each detector. Found boxes are named by Market-1501's rule: the person
whom they overlap by half or more; junk, which does not count, from a fifth on; else a distractor. A query is every
person in every camera, in the frame that shows most of it; it looks for that person in the other cameras. "In all", a
query that the detector missed has failed, and a true crop that it missed was not found; without these words such
queries and crops are left out.

Tracks: IDF1 and identity switches, a camera at a time and linked over all, of BoT-SORT alone and with the network.
Writes ``docs/benchmarks/search_end_to_end/<name>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
from kd_yolo.data.market_name import DISTRACTOR, JUNK

TRUE = "true boxes"
GOOD_MIN, JUNK_MIN = 0.5, 0.2  # overlap


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reid", type=Path, required=True, help="an export of kd-yolo reid export")
    parser.add_argument("--detector", nargs="+", required=True, help="name=weights")
    parser.add_argument("--name", default="demo", help="of the results file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the film")
    parser.add_argument("--stride", type=int, default=5)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--appearance", type=float, help="least likeness at which the tracker joins a box, 0..1")
    parser.add_argument("--proximity", type=float, help="least overlap at which the tracker asks for the appearance")
    parser.add_argument("--clips", type=Path, default=Path("datasets"))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/search_end_to_end"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "search_end_to_end")
    return parser.parse_args()


@dataclass
class Crops:
    """Crops of one film, and who is in them.

    Attributes:
        images: RGB.
        people: number of the person, 0 for a distractor, -1 for junk.
        cameras, frames: where each was cut.
    """

    images: list[Any] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    cameras: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def add(self, crop: Any, person: int) -> None:
        """Takes one."""
        self.images.append(crop.image_hw3)
        self.people.append(person)
        self.cameras.append(crop.camera)
        self.frames.append(crop.index)

    def place(self, key: tuple[int, int, int]) -> int | None:
        """Where the crop of a person, camera and frame is; None where there is none."""
        keys = zip(self.people, self.cameras, self.frames, strict=True)
        return next((place for place, one in enumerate(keys) if one == key), None)


def crops_of(clip: Any, detector: Any, rules: Any, stride: int) -> tuple[Crops, Crops, set[tuple[int, int, int]]]:
    """Crops at true boxes, crops at found ones, and the queries: person, camera and frame."""
    from kd_yolo.search.frames.sources import open_source
    from kd_yolo.search.networks.batches import detect_people
    from kd_yolo.search.tracks.mot import read_mot

    true, found = Crops(), Crops()
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for camera, (video, file) in enumerate(zip(clip.videos, clip.truths, strict=True), 1):
        truth = read_mot(file)
        frames = open_source(str(video), camera=camera, stride=stride, say=lambda _: None)
        for frame, people in detect_people(frames, detector, rules.conf, detector.settings.batch):
            here = truth.where(truth.frames_n == frame.index + 1)
            ids = [int(i) if counts else JUNK for i, counts in zip(here.ids_n, here.counts_n, strict=True)]
            for box_4, person in zip(here.boxes_xyxy_n4, ids, strict=True):
                if person != JUNK and (crop := cut_one(frame, box_4, rules)):
                    true.add(crop, person)
                    area = float(np.prod(box_4[2:] - box_4[:2]))
                    best[person, camera] = max(best.get((person, camera), (0.0, 0)), (area, frame.index))
            for box_4, person in zip(people.boxes_xyxy_m4, named(people.boxes_xyxy_m4, here, ids), strict=True):
                if crop := cut_one(frame, box_4, rules):
                    found.add(crop, person)
    return true, found, {(person, camera, index) for (person, camera), (_, index) in best.items()}


def cut_one(frame: Any, box_xyxy: np.ndarray, rules: Any) -> Any:
    """The crop of a box; None where the rules leave it out."""
    from kd_yolo.search.frames.cut import cut
    from kd_yolo.search.frames.frame_types import People

    crops = cut(frame, People(box_xyxy[None].astype(np.float32), np.ones(1, np.float32)), rules)
    return crops[0] if crops else None


def named(boxes_xyxy_m4: np.ndarray, here: Any, ids: list[int]) -> list[int]:
    """Whom each found box shows."""
    from kd_yolo.geometry.boxes import iou_pairs

    people = [DISTRACTOR] * len(boxes_xyxy_m4)
    rows, columns, overlaps = iou_pairs(boxes_xyxy_m4.astype(np.float64), here.boxes_xyxy_n4, JUNK_MIN)
    for pair in np.argsort(overlaps, kind="stable"):  # the largest overlap of a box has the last word
        people[rows[pair]] = ids[columns[pair]] if overlaps[pair] >= GOOD_MIN else JUNK
    return people


def ranked(crops: Crops, queries: set[tuple[int, int, int]], true: Crops, embedder: Any) -> dict[str, float]:
    """Scores of a search, and the same in all: with what was missed."""
    from kd_yolo.reid.evaluation.rank import evaluate_embeddings

    keys = sorted(key for key in queries if _others(key, true))
    places = {key: place for key in keys if (place := crops.place(key)) is not None}
    vectors_nd = embedder.embed(crops.images)
    people, cameras = np.array(crops.people), np.array(crops.cameras)
    asked, rest = list(places.values()), np.setdiff1d(np.arange(len(people)), list(places.values()))
    result = evaluate_embeddings(
        (vectors_nd[asked], people[asked], cameras[asked]), (vectors_nd[rest], people[rest], cameras[rest])
    )
    recall = [_others(key, crops) / _others(key, true) for key in places]  # a person found twice counts as whole
    in_all = float(np.nansum(result.ap * np.minimum(recall, 1))) / len(keys)
    return {
        "crops": len(people), "queries": len(keys), "queries missed": len(keys) - result.num_valid_queries,
        "mAP": result.map, "rank1": float(result.cmc[0]), "mAP in all": in_all,
        "rank1 in all": float(result.cmc[0]) * result.num_valid_queries / len(keys),
    }  # fmt: skip


def _others(key: tuple[int, int, int], crops: Crops) -> int:
    """Crops of a person in other cameras."""
    person, camera, _ = key
    return sum(p == person and c != camera for p, c in zip(crops.people, crops.cameras, strict=True))


def tracked(clip: Any, detector: Any, reid: Path | None, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """IDF1 and switches over the cameras one by one, and of the linked tracks."""
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.tracks.follow import TrackTools
    from kd_yolo.search.tracks.idf1 import score_tracks
    from kd_yolo.search.tracks.mot import joined, read_mot
    from kd_yolo.search.tracks.rules import TrackRules
    from kd_yolo.search.tracks.run import score_all, track_all

    given = {"appearance": args.appearance, "proximity": args.proximity}
    rules = TrackRules.parse({key: value for key, value in given.items() if value is not None}, "benchmark")
    tools = TrackTools(detector, reid, Embedder.open(reid, "cpu") if reid else None, rules)
    linked = track_all([str(video) for video in clip.videos], folder, tools, lambda _: None)
    truths = [read_mot(file) for file in clip.truths]
    cameras = [score_tracks(truth, found.sightings) for truth, found in zip(truths, linked.tracks, strict=True)]
    scores = {"IDF1": statistics.mean(one.idf1 for one in cameras), "switches": sum(one.switches for one in cameras)}
    if reid:
        scores["IDF1 linked"] = score_all(linked, list(clip.truths), folder)["all cameras"].idf1
        scores["IDF1 unlinked"] = score_tracks(*_apart(truths, linked.tracks, joined)).idf1
    return scores


def _apart(truths: list[Any], tracks: list[Any], joined: Any) -> tuple[Any, Any]:
    """The truth over all cameras, and tracks that are never joined."""
    lengths = [found.num_frames for found in tracks]
    first, parts = 0, []
    for found in tracks:
        one = found.sightings
        parts.append(type(one)(one.frames_n, one.ids_n + first, one.boxes_xyxy_n4, one.counts_n))
        first += int(one.ids_n.max(initial=0)) + 1
    return joined(truths, lengths), joined(parts, lengths)


def measure(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """A list over seeds of each figure of each row."""
    from kd_yolo.builtin.clip_set import make_clip
    from kd_yolo.search.networks.detector import PersonDetector
    from kd_yolo.search.networks.embedder import Embedder
    from kd_yolo.search.settings import CropRules, DetectorSettings

    rules, embedder = CropRules(conf=args.conf), Embedder.open(args.reid, "cpu")
    rows: dict[str, dict[str, list[float]]] = {}

    def note(row: str, figures: dict[str, float]) -> None:
        for key, value in figures.items():
            rows.setdefault(row, {}).setdefault(key, []).append(round(value, 4))

    for seed in args.seeds:
        clip = make_clip(args.clips / f"clip-demo-s{seed}", "demo", seed)
        for place, (name, weights) in enumerate(pair.split("=", 1) for pair in args.detector):
            detector = PersonDetector.open(DetectorSettings(weights=weights, imgsz=args.imgsz, device="cpu"))
            true, found, queries = crops_of(clip, detector, rules, args.stride)
            if place == 0:
                note(TRUE, ranked(true, queries, true, embedder))
            note(name, ranked(found, queries, true, embedder))
            for reid in (None, args.reid):
                folder = args.runs / args.name / f"{name}-s{seed}" / ("reid" if reid else "alone")
                folder.mkdir(parents=True, exist_ok=True)
                scores = tracked(clip, detector, reid, folder, args)
                note(name, {f"{key} with ReID" if reid else key: value for key, value in scores.items()})
        print(json.dumps(rows, indent=1), flush=True)
    return rows


def main() -> None:
    """Measures, prints a table, writes the JSON."""
    from kd_yolo.yolo.guard import prepare_process

    args = parse()
    prepare_process()
    rows = measure(args)
    result = {
        "rows": rows, "seeds": args.seeds, "imgsz": args.imgsz, "stride": args.stride, "conf": args.conf,
        "appearance": args.appearance, "proximity": args.proximity,
        "versions": {name: metadata.version(name) for name in ("torch", "ultralytics", "onnxruntime")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
    }  # fmt: skip
    write_json(args.out / f"{args.name}.json", result)
    for name, figures in rows.items():
        print(name, {key: round(statistics.mean(values), 3) for key, values in figures.items()})


if __name__ == "__main__":
    main()
