"""What self-distillation and a teacher bring to a small ReID network, seeds paired, beside colour histograms.

    python benchmarks/reid_gain.py --data path/to/crops

Each arm trains the same student from the same initial weights with the same batches for the same number of epochs, with
``--recipe`` and ``--changes``. The teacher is trained once, with ``--teacher-backbone`` and ``--teacher-epochs``, on
the same identities. Every network is tested on query and gallery.
Finished runs are kept under ``docs/benchmarks/reid_gain/<set>/``, interrupted ones resume; ``--table`` prints them.

``colours``: the histogram of a crop, 8 x 8 x 8 bins, compared by intersection. ``stripes``: such histograms of six
stripes of a crop whose channels are divided by their means, which takes a camera's tint away; the best of some tried.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "self_kd": {"self_kd.enabled": True},
    "distill": {"distill.logit": "js", "distill.temperature": 4.0, "distill.logit_weight": 1.0},
}
HISTOGRAMS = {"colours": 1, "stripes": 6}  # names, and stripes of each
METRICS = ("mAP", "mINP", "rank1")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--changes", nargs="*", default=[], help="key=value of kd-yolo reid train, for all networks")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="name, or name=key:value,key:value of one's own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--backbone", default="resnet18_ibn_a")
    parser.add_argument("--teacher-backbone", default="resnet34_ibn_a")
    parser.add_argument("--teacher-epochs", type=int, default=14)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/reid_gain"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "reid_gain")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    args = parser.parse_args()
    args.set_name = args.set_name or args.data.resolve().name
    return args


def settings(args: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """The changes to the recipe, as ``kd-yolo reid train`` takes them."""
    from kd_yolo.cli.reid.pairs import parse_pairs

    name, _, own = arm.partition("=")
    values = parse_pairs(args.changes)
    values |= {"data": str(args.data), "network.backbone": args.backbone, "epochs": args.epochs, "seed": seed}
    if name == "teacher":
        return {**values, "network.backbone": args.teacher_backbone, "epochs": args.teacher_epochs}
    values |= parse_pairs([pair.replace(":", "=", 1) for pair in own.split(",")]) if own else ARMS[name]
    if any(key.startswith("distill.") for key in values):
        values["distill.teacher"] = str(folder_of(args, "teacher", 0) / "weights" / "best.pt")
    return values


def folder_of(args: argparse.Namespace, name: str, seed: int) -> Path:
    """Folder of a run."""
    return (args.runs / args.set_name / f"{name}-s{seed}").resolve()


def run(args: argparse.Namespace, arm: str, seed: int) -> None:
    """Trains and tests one network, unless its result is there."""
    from kd_yolo.reid.measure import Source, measure
    from kd_yolo.reid.resolve import resolve_reid
    from kd_yolo.reid.train.run import resume, train

    name = arm.partition("=")[0]
    target, folder = args.out / args.set_name / f"{name}-s{seed}.json", folder_of(args, name, seed)
    if target.is_file():
        return
    values = settings(args, arm, seed)
    config, last, start = resolve_reid(args.recipe, values), folder / "weights" / "last.pt", time.monotonic()
    best, can_resume = folder / "weights" / "best.pt", last.is_file()
    finished = (folder / "metrics.json").is_file()
    if not finished:
        best = resume(last, say) if can_resume else train(config, folder, say)
    seconds = round(time.monotonic() - start)
    found = measure(Source(best, str(args.data), "cpu"), config.test, folder / "test", say, strips=20)
    kept = {key: value for key, value in values.items() if key not in ("data", "distill.teacher")}
    result = {
        "arm": name, "seed": seed, **{key: round(value, 4) for key, value in found.items()},
        "train_seconds": None if finished or can_resume else seconds, "recipe": args.recipe, "settings": kept,
        **setup(),
    }  # fmt: skip
    write_json(target, result)


def setup() -> dict[str, Any]:
    """Versions and machine."""
    versions = {name: metadata.version(name) for name in ("torch", "torchvision", "numpy")}
    return {"versions": versions, "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU"}


def histograms(args: argparse.Namespace, name: str) -> None:
    """Scores colour histograms, unless that is there."""
    from kd_yolo.reid.data.sets import read_reid_set
    from kd_yolo.reid.resolve import resolve_reid
    from kd_yolo.reid.testing import as_metrics, score

    target = args.out / args.set_name / f"{name}-s0.json"
    if target.is_file():
        return
    found = read_reid_set(str(args.data))
    query, gallery = (
        np.stack([colours(sample.path, HISTOGRAMS[name]) for sample in part]) for part in (found.query, found.gallery)
    )
    dist_qg = np.stack([1 - np.minimum(row, gallery).sum(1) for row in query]).astype(np.float32)
    metrics = as_metrics(score(dist_qg, found.query, found.gallery, resolve_reid("strong_baseline", {}).test))
    result = {"arm": name, "seed": 0, **{key: round(value, 4) for key, value in metrics.items()}}
    write_json(target, result)


def colours(path: Path, stripes: int) -> np.ndarray:
    """Histograms of stripes one below the other, in all of sum 1; more than one: of colours without the tint."""
    import cv2

    image = cv2.resize(cv2.imread(str(path)), (48, 96))
    if stripes > 1:
        tinted = image[:, 8:40].astype(np.float32)
        image = np.clip(tinted * (110 / image.mean((0, 1)).clip(1)), 0, 255).astype(np.float32)
    parts = np.split(image, stripes)
    found = [cv2.calcHist([part], [0, 1, 2], None, [8] * 3, [0, 256] * 3).ravel() for part in parts]
    whole = np.concatenate(found)
    return whole / whole.sum()


def table(folder: Path) -> str:
    """A row an arm: mean and sd over seeds, and the gain paired by seed."""
    runs: dict[str, dict[int, dict[str, float]]] = {}
    for file in sorted(folder.glob("*-s*.json")):
        result = json.loads(file.read_text())
        runs.setdefault(result["arm"], {})[result["seed"]] = result
    lines = [
        "| network | seeds | mAP | mINP | Rank-1 | gain in mAP | gain in Rank-1 |",
        "|---|---|---|---|---|---|---|",
    ]
    base = runs.get("none", {})
    for arm, found in sorted(runs.items(), key=lambda item: statistics.mean(r["mAP"] for r in item[1].values())):
        cells = [_mean([r[key] for r in found.values()], ".3f") for key in METRICS]
        paired = [seed for seed in found if seed in base] if arm not in ("none", "teacher", *HISTOGRAMS) else []
        gains = [_mean([found[s][key] - base[s][key] for s in paired], "+.3f") for key in ("mAP", "rank1")]
        lines.append(f"| {arm} | {len(found)} | {' | '.join([*cells, *gains])} |")
    return "\n".join(lines)


def _mean(values: list[float], form: str) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}" if values else ""


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)


def main() -> None:
    """Runs what is missing, prints the table."""
    args = parse()
    if not args.table:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        for name in HISTOGRAMS:
            histograms(args, name)
        needs = [arm for arm in args.arms if arm.partition("=")[0] == "distill" or "distill." in arm]
        for arm, seed in [*([("teacher", 0)] if needs else []), *((a, s) for s in args.seeds for a in args.arms)]:
            say(f"== {arm}, seed {seed}")
            run(args, arm, seed)
    print(table(args.out / args.set_name))


if __name__ == "__main__":
    main()
