"""How much faster does pruning make a detector?

    python benchmarks/prune_latency.py --model yolov8n.pt

Prunes at two factors, then times the unpruned and the pruned networks on one image, in PyTorch (eager, fused) and in
ONNX Runtime, on the CPU with pinned threads. All of them live in one process and take turns, in another order each
round, so that noise of the machine hits all alike. What counts is the ratio of the medians to the unpruned network's.
Latency does not depend on the values of the weights: a model YAML will do. Writes
``docs/benchmarks/prune_latency.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))

LIMITS = {("0.2", "onnx"): 0.75, ("0.5", "onnx"): 0.40}  # of the unpruned yolov8n at 320 px
RUNTIMES = {"torch": "PyTorch eager", "onnx": "ONNX Runtime"}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov8n.yaml", help="weights, or a model YAML")
    parser.add_argument("--factors", type=float, nargs="+", default=[0.2, 0.5])
    parser.add_argument("--round-to", type=int, default=8)
    parser.add_argument("--global", dest="global_ranking", action="store_true", help="rank all layers together")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "prune_latency.json")
    return parser.parse_args()


def networks(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The unpruned network as ``0`` and the pruned ones by factor, each from its file."""
    from kd_yolo.config.prune import PruneSettings
    from kd_yolo.prune.job import Pruning
    from kd_yolo.yolo.files.loading import load_checkpoint

    weights = write_weights(args.model, folder) if args.model.endswith((".yaml", ".yml")) else args.model
    found = {"0": load_checkpoint(weights)[0]}
    for factor in args.factors:
        settings = PruneSettings(
            model=str(weights), factor=factor, importance="l2", imgsz=args.imgsz, round_to=args.round_to,
            global_ranking=args.global_ranking, latency_rounds=1,
        )  # fmt: skip
        result = Pruning(settings, print).run(folder / f"{factor:g}")
        found[f"{factor:g}"] = load_checkpoint(result.path)[0]
    return found


def write_weights(yaml: str, folder: Path) -> Path:
    """Untrained weights."""
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO(yaml).save(str(folder / "unpruned.pt"))
    return folder / "unpruned.pt"


def measure(models: dict[str, Any], args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a network and runtime."""
    from kd_yolo.yolo.measure import measure_latency, measure_size, onnx_runner, torch_runner

    runners: dict[tuple[str, str], Callable[[], None]] = {}
    for factor, model in models.items():
        runners[factor, "torch"] = torch_runner(model, args.imgsz)
        runners[factor, "onnx"] = onnx_runner(model, args.imgsz, args.threads)
    names = {" ".join(key): key for key in runners}
    timed = measure_latency(
        {name: runners[key] for name, key in names.items()}, rounds=args.rounds, warmup=10, threads=args.threads
    )
    sizes = {factor: measure_size(model, args.imgsz) for factor, model in models.items()}
    rows = []
    for name, (factor, runtime) in names.items():
        size, whole, base = sizes[factor], sizes["0"], timed[f"0 {runtime}"]
        rows.append(
            {
                "factor": float(factor),
                "runtime": runtime,
                "parameters": size.deployed_parameters,
                "gflops": size.deployed_gflops,
                "parameters_ratio": size.deployed_parameters / whole.deployed_parameters,
                "flops_ratio": size.deployed_gflops / whole.deployed_gflops,
                "p50_ms": timed[name].p50_ms,
                "p90_ms": timed[name].p90_ms,
                "ratio": timed[name].p50_ms / base.p50_ms,
                "limit": LIMITS.get((factor, runtime)) if is_limited(args) else None,
            }
        )
    return rows


def is_limited(args: argparse.Namespace) -> bool:
    """Whether the limits, which are those of one setting, are due."""
    is_default = (args.imgsz, args.threads, args.round_to, args.global_ranking) == (320, 1, 8, False)
    return Path(args.model).stem == "yolov8n" and is_default


def report(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Prints the table and writes the JSON."""
    print("\n| factor | runtime | parameters | FLOPs | p50 ms | p90 ms | latency ratio | limit |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        limit = (
            "" if row["limit"] is None else f"{row['limit']:.2f} {'met' if row['ratio'] <= row['limit'] else 'MISSED'}"
        )
        sizes = f"{row['parameters_ratio']:.3f} | {row['flops_ratio']:.3f}"
        times = f"{row['p50_ms']:.1f} | {row['p90_ms']:.1f} | {row['ratio']:.3f}"
        print(f"| {row['factor']:g} | {RUNTIMES[row['runtime']]} | {sizes} | {times} | {limit} |")
    body = {"setup": setup(args), "rows": rows}
    write_json(args.out, body)


def setup(args: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions, commit, and how it was measured."""
    import onnxruntime
    import torch
    import torch_pruning
    import ultralytics

    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    return {
        "model": Path(args.model).name, "imgsz": args.imgsz, "batch": 1, "threads": args.threads, "rounds": args.rounds,
        "round_to": args.round_to, "global": args.global_ranking, "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__, "ultralytics": ultralytics.__version__,
        "torch_pruning": torch_pruning.__version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit,
    }  # fmt: skip


def main() -> None:
    """Prunes and measures."""
    args = parse()
    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        report(measure(networks(args, Path(folder)), args), args)


if __name__ == "__main__":
    main()
