"""What is left after pruning, and how much of it retraining and distillation bring back; several seeds.

    python benchmarks/prune_chain.py --data path/to/data.yaml --base best-s0.pt best-s1.pt best-s2.pt --teacher big.pt

``--base`` are fine-tuned detectors, one a seed. Each is pruned at every factor; mAP50-95 on the test split (val where
there is none) of: the base, pruned raw, pruned with recalibrated BatchNorm, retrained, distilled for as many epochs
instead, and retrained then distilled. Every finished pair of factor and seed is one JSON file under
``docs/benchmarks/prune_chain/<set>/``: an interrupted run goes on from there. ``--table`` prints what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
ARMS = ("base", "raw", "recalibrated", "retrained", "distilled", "retrained+distilled")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--base", nargs="+", type=Path, default=[], help="fine-tuned weights; the n-th is seed n")
    parser.add_argument("--seeds", type=int, nargs="+", help="the seeds to run (default: all of --base)")
    parser.add_argument("--teacher", type=Path, help="weights of a bigger teacher; default: the base itself")
    parser.add_argument("--factors", type=float, nargs="+", default=[0.2, 0.5])
    parser.add_argument("--loss", default=None, help="as train_distill.py --loss")
    parser.add_argument("--importance", default=None)
    parser.add_argument("--imgsz", type=int, default=192)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--nbs", type=int, default=16, help="images an optimizer step (ultralytics: 64)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--lr0", type=float, default=1e-3)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/prune_chain"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "prune_chain")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def score(weights: Path | str, args: argparse.Namespace) -> float:
    """mAP50-95 on the test split, or on val where there is none."""
    import yaml

    from kd_yolo.yolo.evaluate import validate

    split = "test" if "test" in yaml.safe_load(args.data.read_text()) else "val"
    found = validate(weights, str(args.data.resolve()), imgsz=args.imgsz, batch=32, split=split, device="cpu")
    return found["metrics/mAP50-95(B)"]


def run_pair(factor: float, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """All arms of one factor and seed."""
    from kd_yolo import PruneModel
    from kd_yolo.yolo.files.loading import load_checkpoint
    from kd_yolo.yolo.measure import measure_size

    base, folder = args.base[seed], args.runs / args.set_name / f"{factor:g}-s{seed}"
    data, teacher = str(args.data.resolve()), args.teacher or base
    train: dict[str, Any] = {
        "imgsz": args.imgsz, "batch": args.batch, "nbs": args.nbs, "optimizer": "AdamW", "lr0": args.lr0, "seed": seed,
        "device": "cpu", "workers": 0, "plots": False, "verbose": False,
    }  # fmt: skip
    prune: dict[str, Any] = {"factor": factor, "data": data, "importance": args.importance, "seed": seed}

    def chain(name: str) -> PruneModel:
        return PruneModel(base, folder=folder / name, **train)

    raw = chain("raw").prune(**prune, recalibrate=False)
    whole, instead = chain("retrain"), chain("distill")
    recalibrated, _ = whole.prune(**prune), instead.prune(**prune)
    retrained = whole.train(data, args.epochs)
    both = whole.distill(teacher, args.loss, data, args.epochs)
    distilled = instead.distill(teacher, args.loss, data, args.epochs)
    made = (base, raw.path, recalibrated.path, retrained.path, distilled.path, both.path)
    sizes = [measure_size(load_checkpoint(path)[0], args.imgsz) for path in (base, raw.path)]
    return {
        "map50_95": {name: score(path, args) for name, path in zip(ARMS, made, strict=True)},
        "parameters": [size.parameters for size in sizes],
        "gflops": [size.gflops for size in sizes],
    }


def setup(args: argparse.Namespace) -> dict[str, Any]:
    """What has to be known to repeat it."""
    import torch
    import ultralytics

    keys = ("imgsz", "batch", "nbs", "epochs", "lr0", "loss", "importance")
    return {
        **{key: getattr(args, key) for key in keys},
        "teacher": args.teacher.name if args.teacher else "base", "torch": torch.__version__,
        "ultralytics": ultralytics.__version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
    }  # fmt: skip


def table(args: argparse.Namespace) -> str:
    """Mean and sd over seeds of every arm, a row a factor; gains are paired by seed."""
    lines = [f"| factor | seeds | parameters | GFLOPs | {' | '.join(ARMS)} |", "|---|---|---|---|" + "---|" * len(ARMS)]
    by_factor: dict[float, list[dict[str, Any]]] = {}
    for file in sorted((args.out / args.set_name).glob("*.json")):
        row = json.loads(file.read_text())
        by_factor.setdefault(row["factor"], []).append(row)
    for factor, rows in by_factor.items():
        shares = [100 * rows[0][key][1] / rows[0][key][0] for key in ("parameters", "gflops")]
        cells = [_mean([row["map50_95"][arm] for row in rows]) for arm in ARMS]
        lines.append(f"| {factor:g} | {len(rows)} | {shares[0]:.0f}% | {shares[1]:.0f}% | {' | '.join(cells)} |")
        for one, other in (("distilled", "retrained"), ("retrained+distilled", "base")):
            gains = [row["map50_95"][one] - row["map50_95"][other] for row in rows]
            lines.append(f"| | | | {one} - {other}: | {_mean(gains)} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def main() -> None:
    """Runs what is missing, prints the table."""
    args = parse()
    args.set_name = args.set_name or args.data.resolve().parent.name
    if not args.table:
        from kd_yolo.yolo.guard import prepare_process

        prepare_process()
        for seed in args.seeds if args.seeds is not None else range(len(args.base)):
            for factor in args.factors:
                file = args.out / args.set_name / f"{factor:g}-s{seed}.json"
                if file.is_file():
                    continue
                row = {"factor": factor, "seed": seed, **run_pair(factor, seed, args), "setup": setup(args)}
                write_json(file, row)
                print(json.dumps(row["map50_95"]), flush=True)
    print(table(args))


if __name__ == "__main__":
    main()
