"""How much of the drawn tree do the boxes alone tell?

    python benchmarks/relation_truth.py path/to/diagram

Finds the parents of the true boxes and compares them with ``plabels``. The least share of a child inside its parent is
swept on the train split, with true boxes and with boxes whose corners are off by 4 % of their size, as a detector's
may be; the val split is scored once with the package's default. What is wrong there is counted by cause. Writes
``docs/benchmarks/relation_truth.json``.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from kd_yolo.base.files import write_json
from kd_yolo.data.plabels import ParentLabels
from kd_yolo.data.relation_set import read_relation_set
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.geometry.boxes import as_boxes, box_areas, overlaps
from kd_yolo.geometry.relation import (
    SHARE_MIN,
    RelationMetrics,
    find_parent_nodes,
    learn_allowed_pairs,
    relation_metrics,
)

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
NOISE = 0.04  # of a box's width and height, standard deviation


def find(boxes: np.ndarray, truth: ParentLabels, share: float, allowed: np.ndarray | None) -> list[int]:
    classes = truth.classes if allowed is not None else None
    return find_parent_nodes(boxes, share_min=share, classes=classes, allowed_kk=allowed)


def score(
    truths: Sequence[ParentLabels], share: float, allowed: np.ndarray | None = None, noise: float = 0.0
) -> RelationMetrics:
    """Parents of all true boxes; with noise the boxes are moved before parents are found, matching is by index."""
    rng, total = np.random.default_rng(0), RelationMetrics()
    for truth in truths:
        boxes = truth.boxes_xyxy(1, 1)
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        moved = boxes + rng.normal(0, noise, boxes.shape) * size if noise else boxes
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        found = find(moved, truth, share, allowed)
        # Equal boxes on both sides: every box is matched to itself, so that only the links are scored.
        own = np.arange(len(boxes))[:, None] * 2.0 + np.array([0.0, 0.0, 1.0, 1.0])
        total += relation_metrics(own, found, own, truth.parents)
    return total


def causes(truths: Sequence[ParentLabels], names: dict[int, str], allowed: np.ndarray | None = None) -> dict[str, Any]:
    """Why links are wrong or missing, with the classes of the children."""
    counts: dict[str, Counter[str]] = {}
    for truth in truths:
        boxes = as_boxes(truth.boxes_xyxy(1, 1))
        found = find(boxes, truth, SHARE_MIN, allowed)
        width, height = (np.maximum(side, 0) for side in overlaps(boxes, boxes))
        share = width * height / np.maximum(box_areas(boxes), 1e-12)[:, None]
        for i in np.flatnonzero(truth.parents != found):
            cause = name_cause(int(truth.parents[i]), found[i], share[i], truth.parents)
            counts.setdefault(cause, Counter())[names[int(truth.classes[i])]] += 1
    return {cause: dict(classes.most_common()) for cause, classes in sorted(counts.items())}


def name_cause(true: int, found: int, share: np.ndarray, parents: np.ndarray) -> str:
    if true < 0:
        return "a root that lies inside another box"
    if share[true] < SHARE_MIN:
        return "outside its parent" if share[true] == 0 else "less than half inside its parent"
    above = found
    while above >= 0 and above != true:
        above = int(parents[above])
    return "inside a part of its parent but not of that part" if above == true else "inside another, smaller box"


def row(found: RelationMetrics) -> dict[str, float]:
    rounded = {key: round(getattr(found, key), 4) for key in ("precision", "recall", "f1")}
    return {**rounded, **{key: asdict(found)[key] for key in ("correct", "predicted", "true")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with images/, plabels/ and a data YAML; splits train and val")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "relation_truth.json")
    args = parser.parse_args()
    names = read_data_yaml(args.data).names
    train, val = ([sample.truth for sample in read_relation_set(args.data, split)] for split in ("train", "val"))
    allowed = learn_allowed_pairs([(truth.classes, truth.parents) for truth in train], len(names))
    rules = {"boxes alone": None, "with class pairs seen in train": allowed}
    sweep = [
        {"share_min": share, **{f"{rule}, {kind}": round(score(train, share, table, noise).f1, 4)
         for rule, table in rules.items() for kind, noise in (("true boxes", 0.0), ("noisy boxes", NOISE))}}
        for share in SHARES
    ]  # fmt: skip
    results = {rule: {"train": row(score(train, SHARE_MIN, table)), "val": row(score(val, SHARE_MIN, table)),
                      "val causes": causes(val, names, table)} for rule, table in rules.items()}  # fmt: skip
    report(sweep, results)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    setup = {
        "data": args.data.name, "images": {"train": len(train), "val": len(val)}, "share_min": SHARE_MIN,
        "noise": NOISE, "numpy": np.__version__, "machine": platform.machine(), "commit": commit,
    }  # fmt: skip
    write_json(args.out, {"setup": setup, "train sweep (F1)": sweep, "results": results})


def report(sweep: list[dict[str, Any]], results: dict[str, Any]) -> None:
    print("F1 on train by the least share of a child inside its parent\n")
    print("| " + " | ".join(sweep[0]) + " |\n|" + "---|" * len(sweep[0]))
    for line in sweep:
        print("| " + " | ".join(str(value) for value in line.values()) + " |")
    for rule, found in results.items():
        print(f"\n{rule}, share {SHARE_MIN}")
        for split in ("train", "val"):
            one = found[split]
            print(
                f"  {split:5} precision {one['precision']:.4f} recall {one['recall']:.4f} F1 {one['f1']:.4f}"
                f" ({one['correct']} right of {one['predicted']} found and {one['true']} true links)"
            )
        for cause, classes in found["val causes"].items():
            print(f"  val: {sum(classes.values()):4} {cause}: " + ", ".join(f"{k} {n}" for k, n in classes.items()))


if __name__ == "__main__":
    main()
