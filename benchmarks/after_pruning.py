"""After pruning: does distillation give back more than plain retraining at the same number of steps, and at equal cost?

    python benchmarks/after_pruning.py --data path/to/data.yaml --start yolov8n.pt

Seed by seed: a detector is fine-tuned (``base``) and pruned at each factor; the pruned network is retrained for
``--epochs``, distilled from its base for as many epochs, and retrained for as long as the distilled run took in CPU
time, on a GPU in seconds (``retrained at equal cost``; the ratio is measured once, on the first pair, and kept in
``cost.json``). One recipe, written down in ``claims.md`` beside the results before the first run. Each finished run is
a JSON file with its settings, versions, commit, validation curve, and mAP50-95 on val and test; an interrupted
benchmark goes on from there. ``--table`` prints what is there: means over seeds, paired differences with the interval
of Student's t, corrected for the number of factors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import SCORE, TRAIN, commit, paired_gain, scores, train_and_print

from kd_yolo.base.columns import read_columns
from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
RECIPE: dict[str, Any] = {"loss": "bkd+dfl_kl", "weight": "2+4", "gate": "balanced", "schedule": "constant"}
ARMS = ("retrained", "distilled", "retrained at equal cost")
TWICE = "retrained twice as long"


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--start", help="weights that the base is fine-tuned from")
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--factors", type=float, nargs="+", default=[0.5, 0.7])
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--device", default="cpu", help="'0' for a GPU, where several seeds can run side by side")
    parser.add_argument("--base-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--twice", action="store_true", help="one more control: retrained for twice the epochs")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/after_pruning"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "after_pruning")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Everything that is missing, seed by seed."""
    for seed in args.seeds:
        base = chain(args, f"base-s{seed}", args.start, TRAIN, seed).base_train(
            str(args.data.resolve()), args.base_epochs
        )
        keep(args, f"base-s{seed}", base.path, {"seed": seed}, RECIPE, TRAIN)
        run_seed(seed, args, base.path, RECIPE, TRAIN)


def chain(args: argparse.Namespace, name: str, start: Any, train: dict[str, Any], seed: int) -> Any:
    """A chain of stages in a folder of its own."""
    from kd_yolo import PruneModel

    settings = {**train, "imgsz": args.imgsz, "device": args.device, "seed": seed}
    return PruneModel(str(start), folder=(args.runs / args.set_name).resolve() / name, **settings)


def run_seed(seed: int, args: argparse.Namespace, base: Path, recipe: dict[str, Any], train: dict[str, Any]) -> None:
    """Everything that is missing of one seed of the pruned networks.

    Args:
        seed: of the order of the images.
        args: as :func:`parse` gives them.
        base: the network that is pruned, and teaches.
        recipe: of the distilled arm, as ``PruneModel.distill`` takes it.
        train: ultralytics' arguments of all runs.
    """
    data = str(args.data.resolve())
    for factor in args.factors:
        for arm in (*ARMS, *([TWICE] if args.twice else [])):
            name = f"{factor:g}-{arm.replace(' ', '_')}-s{seed}"
            if (args.out / args.set_name / f"{name}.json").is_file():
                continue
            model = chain(args, name, base, train, seed)
            model.prune(factor=factor, data=data)
            if arm == "distilled":
                flags = {key: value for key, value in recipe.items() if key != "loss"}
                made = model.distill(base, recipe["loss"], data, args.epochs, **flags)
            else:
                made = model.train(data, epochs_of(arm, args))
            keep(args, name, made.path, {"seed": seed, "factor": factor, "arm": arm}, recipe, train)
            note_cost(args, factor, seed)


def epochs_of(arm: str, args: argparse.Namespace) -> int:
    """How long an arm trains."""
    if arm != ARMS[2]:
        return int(args.epochs) * (2 if arm == TWICE else 1)
    return math.ceil(args.epochs * json.loads((args.out / args.set_name / "cost.json").read_text())["ratio"])


def note_cost(args: argparse.Namespace, factor: float, seed: int) -> None:
    """CPU time of a distilled epoch over that of a retrained one, measured on the first pair."""
    target = args.out / args.set_name / "cost.json"
    names = [f"{factor:g}-{arm}-s{seed}" for arm in ("retrained", "distilled")]
    files = [args.out / args.set_name / f"{name}.json" for name in names]
    if target.is_file() or not all(file.is_file() for file in files):
        return
    key = "cpu_seconds" if args.device == "cpu" else "seconds"
    plain, distilled = (json.loads(file.read_text())[key] for file in files)
    body = {"ratio": distilled / plain, "retrained": plain, "distilled": distilled, "factor": factor, "seed": seed}
    write_json(target, body)


def keep(
    args: argparse.Namespace, name: str, weights: Path, facts: dict[str, Any], recipe: dict[str, Any],
    train: dict[str, Any],
) -> None:  # fmt: skip
    """Evaluates a network and writes its JSON."""
    from kd_yolo.report.comparison import setup
    from kd_yolo.training.usage import read_usage
    from kd_yolo.yolo.files.loading import load_checkpoint
    from kd_yolo.yolo.measure import measure_size

    target = args.out / args.set_name / f"{name}.json"
    if target.is_file():
        return
    found = scores(weights, args.data, args.imgsz, args.device)
    size = measure_size(load_checkpoint(weights)[0], args.imgsz)
    curve = read_columns(weights.parents[1] / "results.csv").get(SCORE, [])
    body = {
        **facts, "map": found, "parameters": size.parameters, "gflops": size.gflops, "epochs": len(curve),
        "val_curve": curve, **asdict(read_usage(weights.parents[1])), "recipe": recipe,
        "train": {**train, "imgsz": args.imgsz, "device": args.device, "start": Path(str(args.start)).name},
        "commit": commit(),
        "setup": setup(),
    }  # fmt: skip
    write_json(target, body)
    print(name, json.dumps(found), flush=True)


def table(args: argparse.Namespace) -> str:
    """A row per factor and arm on test; differences to the two controls, paired by seed."""
    found: dict[tuple[float, str], dict[int, float]] = {}
    for file in sorted((args.out / args.set_name).glob("*-s*.json")):
        row = json.loads(file.read_text())
        found.setdefault((row.get("factor", 0.0), row.get("arm", "base")), {})[row["seed"]] = row["map"]["test"]
    num_factors = len({factor for factor, arm in found if arm != "base"})
    level = f"95 % interval, corrected for {num_factors} factors" if num_factors > 1 else "95 % interval"
    lines = [f"| factor | network | seeds | mAP50-95, test | distilled minus it, {level} |", "|---|---|---|---|---|"]
    for (factor, arm), by_seed in sorted(found.items()):
        other = found.get((factor, "distilled"), {})
        gains = [other[seed] - score for seed, score in by_seed.items() if seed in other and arm != "distilled"]
        cell = paired_gain(gains, num_factors) if len(gains) > 1 else ""
        spread = f" ± {statistics.stdev(by_seed.values()):.4f}" if len(by_seed) > 1 else ""
        lines.append(
            f"| {factor:g} | {arm} | {len(by_seed)} | {statistics.mean(by_seed.values()):.4f}{spread} | {cell} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    train_and_print(parse(), run, table)
