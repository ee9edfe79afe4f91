"""INT8: what rounding costs a detector, and what training for INT8 under its own float self gives back.

    python benchmarks/int8_gain.py --data path/to/data.yaml --start yolov8n.pt

Seed by seed: a detector is fine-tuned (``base``), pruned at ``--factor`` and distilled from its base, as in
``after_pruning.py`` (``pruned``). Each of the two is exported to ONNX four times: in float (``float``), in INT8 after
training, calibrated by ultralytics on the validation images (``after training``), and after ``--epochs`` of training
for INT8 (``quantize=8``) without a teacher (``aware``) and under itself (``aware, distilled``: the stage ``qat``).
Accuracy is that of ONNX Runtime. Each network is a JSON file, an interrupted benchmark goes on from there; ``--table``
prints what is there: means over seeds, and the drop against float with the interval of Student's t, paired by seed.
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

from after_pruning import RECIPE
from seeded import SCORE, TRAIN, commit, paired_gain, paired_interval, train_and_print

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
FLOAT, AFTER, AWARE, DISTILLED = ARMS = ("float", "after training", "aware", "aware, distilled")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--start", help="weights that the base is fine-tuned from")
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--factor", type=float, default=0.5)
    parser.add_argument("--networks", nargs="+", choices=["base", "pruned"], default=["base", "pruned"])
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--base-epochs", type=int, default=30)
    parser.add_argument("--distill-epochs", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/after_pruning"), help="shared with that one")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "int8_gain")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Everything that is missing, seed by seed."""
    for seed in args.seeds:
        base, pruned = networks(args, seed)
        for name, weights in (("base", base), ("pruned", pruned)):
            if weights is not None:
                run_network(args, seed, name, weights)


def networks(args: argparse.Namespace, seed: int) -> tuple[Path | None, Path | None]:
    """The fine-tuned detector, and that one pruned and distilled; None for what is not asked for."""
    from kd_yolo import PruneModel

    data, folder = str(args.data.resolve()), (args.runs / args.set_name).resolve()
    train = {**TRAIN, "imgsz": args.imgsz, "seed": seed}
    base = PruneModel(args.start, folder=folder / f"base-s{seed}", **train).base_train(data, args.base_epochs).path
    pruned = None
    if "pruned" in args.networks:
        chain = PruneModel(base, folder=folder / f"{args.factor:g}-distilled-s{seed}", **train)
        chain.prune(factor=args.factor, data=data)
        flags = {key: value for key, value in RECIPE.items() if key != "loss"}
        pruned = chain.distill(base, RECIPE["loss"], data, args.distill_epochs, **flags).path
    return base if "base" in args.networks else None, pruned


def run_network(args: argparse.Namespace, seed: int, name: str, weights: Path) -> None:
    """The four forms of one network."""
    from kd_yolo import PruneModel

    data, train = str(args.data.resolve()), {**TRAIN, "imgsz": args.imgsz, "seed": seed}
    for arm in ARMS:
        target = args.out / args.set_name / f"{name}-{arm.replace(', ', '_').replace(' ', '_')}-s{seed}.json"
        if target.is_file():
            continue
        model = PruneModel(weights, data=data, folder=(args.runs / args.set_name).resolve() / target.stem, **train)
        if arm in (AWARE, DISTILLED):
            model.qat(
                None, "bkd" if arm == AWARE else None, data, args.epochs, **({"weight": 0} if arm == AWARE else {})
            )
        file = model.export("onnx", **({"int8": True} if arm == AFTER else {}))
        keep(args, target, file, Path(model.weights), {"seed": seed, "network": name, "arm": arm})


def keep(args: argparse.Namespace, target: Path, file: Path, weights: Path, facts: dict[str, Any]) -> None:
    """Evaluates an exported network in ONNX Runtime and writes its JSON."""
    from kd_yolo.report.comparison import setup
    from kd_yolo.yolo.evaluate import validate

    settings = {"imgsz": args.imgsz, "batch": 1, "exported": file}
    found = {split: validate(weights, args.data.resolve(), split=split, **settings)[SCORE] for split in ("val", "test")}
    body = {
        **facts, "map": found, "bytes": file.stat().st_size, "epochs": args.epochs,
        "train": {**TRAIN, "imgsz": args.imgsz, "start": Path(str(args.start)).name, "factor": args.factor},
        "commit": commit(), "setup": setup(),
    }  # fmt: skip
    write_json(target, body)
    print(target.stem, json.dumps(found), flush=True)


def read(args: argparse.Namespace) -> dict[tuple[str, str], dict[int, float]]:
    """mAP50-95 on test by seed, of each network and form."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for file in sorted((args.out / args.set_name).glob("*-s*.json")):
        row = json.loads(file.read_text())
        found.setdefault((row["network"], row["arm"]), {})[row["seed"]] = row["map"]["test"]
    return found


def verdicts(args: argparse.Namespace) -> list[str]:
    """The four claims of ``claims.md``, shown or not, for each network that has all forms with two seeds or more."""
    found, lines = read(args), []
    for network in sorted({network for network, _ in found}):
        scores = {arm: found.get((network, arm), {}) for arm in ARMS}
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in scores.values())))
        if len(seeds) < 2:
            continue
        minus = {arm: [scores[DISTILLED][seed] - scores[arm][seed] for seed in seeds] for arm in ARMS[:3]}
        after = statistics.mean(scores[FLOAT][seed] - scores[AFTER][seed] for seed in seeds)
        checks = {
            "1, at most .010 below float": paired_interval(minus[FLOAT])[1] >= -0.010,
            "2, at most a third of the drop after training": -statistics.mean(minus[FLOAT]) <= after / 3,
            "3, above INT8 after training": paired_interval(minus[AFTER])[1] > 0,
            "4, above training for INT8 without a teacher": paired_interval(minus[AWARE])[1] > 0,
        }
        lines += [f"{network}, claim {claim}: {'shown' if ok else 'not shown'}" for claim, ok in checks.items()]
    return lines


def table(args: argparse.Namespace) -> str:
    """A row per network and form, on test; differences with their 95 % intervals, paired by seed."""
    found = read(args)
    lines = [
        "| network | INT8 | seeds | mAP50-95, test | minus float | minus after training | minus aware |",
        "|---|---|---|---|---|---|---|",
    ]
    for network, arm in sorted(found, key=lambda key: (key[0], ARMS.index(key[1]))):
        by_seed = found[network, arm]
        spread = f" ± {statistics.stdev(by_seed.values()):.4f}" if len(by_seed) > 1 else ""
        cells = []
        for control in (FLOAT, AFTER, AWARE):
            other = found.get((network, control), {})
            gains = [score - other[seed] for seed, score in by_seed.items() if seed in other]
            is_later = ARMS.index(arm) > ARMS.index(control)
            cells.append(paired_gain(gains) if is_later and len(gains) > 1 else "")
        what, mean = "no: float" if arm == FLOAT else arm, statistics.mean(by_seed.values())
        lines.append(f"| {network} | {what} | {len(by_seed)} | {mean:.4f}{spread} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    train_and_print(parse(), run, lambda args: "\n".join([table(args), *verdicts(args)]))
