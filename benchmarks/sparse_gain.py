"""Does sparse training make pruning by BatchNorm gamma better than pruning by L2 without it?

    python benchmarks/sparse_gain.py --data path/to/data.yaml --model weights/yolov8n.pt

Trains the model twice for as many epochs: plainly, and sparse. Both are pruned to the same FLOPs, the plain one by L2,
the sparse one by gamma, with recalibrated BatchNorm and no retraining; mAP50-95 on val. Also the share of gammas that
are exactly zero after sparse training with SGD and with AdamW, against the share asked for. Writes
``docs/benchmarks/sparse_gain.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "AdamW", "lr0": 1e-3},
    "SGD": {"optimizer": "SGD", "lr0": 1e-2},
}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--imgsz", type=int, default=192)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--nbs", type=int, default=16, help="images an optimizer step (ultralytics: 64)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--sparsity", type=float, default=0.4)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.8, 0.63])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/sparse_gain"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "sparse_gain.json")
    return parser.parse_args()


def zero_share(weights: Path) -> float:
    """Share of the gammas that sparse training is about which are exactly zero."""
    import numpy as np

    with np.load(weights.parents[1] / "gammas.npz") as arrays:
        return float((arrays["after"] == 0).mean())


def prune(model: Any, target: float, importance: str, args: argparse.Namespace) -> dict[str, float]:
    """Prunes to a share of the FLOPs; what was reached."""
    model.prune(target_flops=target, importance=importance, data=str(args.data.resolve()), seed=args.seed)
    step = model.state.finished[-1]
    return {"gflops": step.metrics["gflops"], "map50_95": step.metrics["map50_95"]}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, a dict for each optimizer."""
    from kd_yolo import PruneModel

    results: dict[str, Any] = {}
    for name, optimizer in OPTIMIZERS.items():
        train = {
            "imgsz": args.imgsz, "batch": args.batch, "nbs": args.nbs, "seed": args.seed, "device": "cpu", "workers": 0,
            "plots": False, "verbose": False, **optimizer,
        }  # fmt: skip
        data, folder = str(args.data.resolve()), args.runs / name
        plain, sparse = (PruneModel(args.model, folder=folder / kind, **train) for kind in ("plain", "sparse"))
        trained = plain.base_train(data, args.epochs)
        thinned = sparse.sparse_train(data, args.epochs, args.sparsity)
        row: dict[str, Any] = {
            "plain_map50_95": trained.metrics["map50_95"],
            "sparse_map50_95": thinned.metrics["map50_95"],
            "zeros_wanted": args.sparsity,
            "zeros_reached": zero_share(thinned.path),
            "pruned": [],
        }
        for target in args.targets:
            again = [
                PruneModel(step.path, folder=folder / f"{step.stage}-{target:g}", **train)
                for step in (trained, thinned)
            ]
            l2, gamma = (prune(m, target, how, args) for m, how in zip(again, ("l2", "bn"), strict=True))
            row["pruned"].append({"target_flops": target, "plain, l2": l2, "sparse, gamma": gamma})
            print(name, json.dumps(row["pruned"][-1]), flush=True)
        results[name] = row
    return results


def main() -> None:
    """Measures and writes the JSON."""
    args = parse()
    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    import torch
    import ultralytics

    keys = ("imgsz", "batch", "nbs", "epochs", "sparsity", "seed", "model")
    setup = {
        **{key: getattr(args, key) for key in keys}, "data": args.data.resolve().parent.name,
        "torch": torch.__version__, "ultralytics": ultralytics.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
    }  # fmt: skip
    setup["model"] = Path(args.model).name
    values = {"setup": setup, "results": measure(args)}
    write_json(args.out, values)
    print(json.dumps(values["results"], indent=1))


if __name__ == "__main__":
    main()
