"""``--loss mgd`` at its defaults against no distillation at equal epochs, and its share of the gradient in each epoch.

    python benchmarks/mgd_default.py --data path/to/data.yaml --weights path/to/weights

The teacher, yolov8s from COCO weights, is fine-tuned on the data once; then, seed by seed, yolov8n trains alone
(``none``) and under the teacher with ``--loss mgd`` and nothing else said (``mgd``), for equal epochs. The claims are
in ``claims.md`` beside the results, written before the first run. Each finished run is a JSON file with its settings,
versions, machine, commit, validation curve, share of the gradient in each epoch, and mAP50-95 on val and test; an
interrupted benchmark goes on from there. ``--table`` prints what is there: means over seeds, the paired difference with
the interval of Student's t.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import SCORE, TRAIN, commit, paired_gain, scores, train_and_print

from kd_yolo.base.columns import read_columns
from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
ARMS = ("none", "mgd")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path, help="folder of yolov8n.pt and yolov8s.pt")
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--teacher-epochs", type=int, default=15)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/mgd_default"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "mgd_default")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Everything that is missing, seed by seed."""
    from kd_yolo.training.stage import train_stage
    from kd_yolo.training.trainers import RETRAINERS

    folder, data = (args.runs / args.set_name).resolve(), str(args.data.resolve())
    start, shared = str(args.weights / "yolov8n.pt"), {**TRAIN, "imgsz": args.imgsz, "data": data}
    arguments = {**shared, "seed": 0, "epochs": args.teacher_epochs}
    teacher = train_stage(RETRAINERS, str(args.weights / "yolov8s.pt"), folder / "teacher", arguments)
    keep(args, "teacher", teacher, {"start": "yolov8s.pt"})
    for seed in args.seeds:
        arguments = {**shared, "seed": seed, "epochs": args.epochs}
        for arm in ARMS:
            name = f"{arm}-s{seed}"
            if not (args.out / args.set_name / f"{name}.json").is_file():
                make = train_stage if arm == "none" else distil_stage
                best = make(RETRAINERS if arm == "none" else str(teacher), start, folder / name, arguments)
                keep(args, name, best, {"seed": seed, "arm": arm, "start": "yolov8n.pt"})


def distil_stage(teacher: str, start: str, folder: Path, arguments: dict[str, Any]) -> Path:
    """``--loss mgd`` and nothing else said, from where an earlier process left off."""
    from kd_yolo.distill import job
    from kd_yolo.training.run import Progress, progress_of

    last = folder / "weights" / "last.pt"
    progress = progress_of(last)
    if progress is Progress.NOTHING:
        place = {"project": str(folder.parent), "name": folder.name, "exist_ok": True}
        job.distil(job.make_plan(job.Request(teacher, start, "mgd", overrides={**arguments, **place})))
    elif progress is not Progress.FINISHED:
        job.resume(str(last), {})
    return last.with_name("best.pt")


def keep(args: argparse.Namespace, name: str, weights: Path, facts: dict[str, Any]) -> None:
    """Evaluates a network and writes its JSON."""
    from kd_yolo.report.comparison import setup
    from kd_yolo.training.usage import read_usage

    target, folder = args.out / args.set_name / f"{name}.json", weights.parents[1]
    if target.is_file():
        return
    found = scores(weights, args.data, args.imgsz)
    curve = read_columns(folder / "results.csv").get(SCORE, [])
    distillation = json.loads((folder / "run.json").read_text()).get("distillation")
    body = {
        **facts, "map": found, "epochs": len(curve), "val_curve": curve,
        "gradient_share": read_columns(folder / "balance.csv").get("gradient_share", []),
        "cpu_seconds": read_usage(folder).cpu_seconds,
        "terms": distillation and distillation["terms"], "train": {**TRAIN, "imgsz": args.imgsz}, "commit": commit(),
        "setup": setup(),
    }  # fmt: skip
    write_json(target, body)
    print(name, json.dumps(found), flush=True)


def table(args: argparse.Namespace) -> str:
    """Means over seeds on val and test, and mgd minus none, paired by seed."""
    files = sorted((args.out / args.set_name).glob("*-s*.json"))
    rows = [json.loads(file.read_text()) for file in files]
    lines = ["| split | none | mgd | seeds | mgd minus none, 95 % interval |", "|---|---|---|---|---|"]
    for split in ("val", "test"):
        none, mgd = ({r["seed"]: r["map"][split] for r in rows if r["arm"] == arm} for arm in ARMS)
        seeds = sorted(set(none) & set(mgd))
        if len(seeds) < 2:
            continue
        gains = [mgd[seed] - none[seed] for seed in seeds]
        means = [f"{statistics.mean(x[s] for s in seeds):.4f}" for x in (none, mgd)]
        lines.append(f"| {split} | {means[0]} | {means[1]} | {len(seeds)} | {paired_gain(gains)} |")
    shares = [row["gradient_share"] for row in rows if row["arm"] == "mgd"]
    for epoch, found in enumerate(zip(*shares, strict=True), 1):
        lines.append(f"epoch {epoch}: distillation is {min(found):.1%} to {max(found):.1%} of the gradient")
    return "\n".join(lines)


if __name__ == "__main__":
    train_and_print(parse(), run, table)
