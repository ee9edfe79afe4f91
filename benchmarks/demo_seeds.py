"""Does the demo hold? Its trainings (``kd-yolo demo``) for several seeds, which draw other images and other weights.

    python benchmarks/demo_seeds.py

Each finished seed is a JSON file with scores, costs, settings, versions and commit; an interrupted benchmark goes on.
What is claimed stands in ``claims.md`` beside the results and was written before the first of these runs. ``--table``
prints what is there and which claims hold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
WANTED = 0.8  # share of the seeds in which a claim has to hold


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/demo"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "demo")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def run_seed(seed: int, args: argparse.Namespace) -> None:
    """Trains all networks of one seed and writes its file."""
    from kd_yolo.pipeline.demo.closing import find_gains
    from kd_yolo.pipeline.demo.train import LOSS, TEACHER, TRAIN, Demo, DemoPlan
    from kd_yolo.report.comparison import setup

    target = args.out / f"seed{seed}.json"
    if target.is_file():
        return
    start, plan = time.process_time(), DemoPlan(seed=seed)
    trained = Demo((args.runs / f"seed{seed}").resolve(), plan, lambda text: print(text, end="", flush=True)).train()
    gains = find_gains({one.name: one.score for one in trained})
    body = {
        "plan": asdict(plan), "loss": LOSS, "train": TRAIN, "teacher": TEACHER,
        "rows": {one.name: asdict(one) for one in trained},
        "gains": [asdict(gain) for gain in gains], "cpu_seconds": time.process_time() - start, "commit": commit(),
        "setup": setup(),
    }  # fmt: skip
    write_json(target, body)


def commit() -> str:
    """The commit that runs."""
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def table(out: Path) -> str:
    """A row per seed, their means, and which claims hold."""
    found = [json.loads(file.read_text()) for file in out.glob("seed*.json")]
    found.sort(key=lambda body: int(body["plan"]["seed"]))
    if not found:
        return "no results yet"
    names = list(found[0]["rows"])
    lines = [f"| seed | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    scores = [[body["rows"][name]["score"] for name in names] for body in found]
    for body, row in zip(found, scores, strict=True):
        lines.append(f"| {body['plan']['seed']} | {' | '.join(f'{score:.3f}' for score in row)} |")
    if len(found) > 1:
        cells = [f"{statistics.mean(one):.3f} ± {statistics.stdev(one):.3f}" for one in zip(*scores, strict=True)]
        lines.append(f"| mean | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *claims(found)])


def claims(found: list[dict[str, Any]]) -> list[str]:
    """In how many seeds each claim holds; below :data:`WANTED` it is not shown."""
    holds = {
        "1. the teacher has .35 or more": [body["rows"]["teacher"]["score"] >= 0.35 for body in found],
        "2. the student gains a third of the gap or more at equal epochs": [
            body["gains"][0]["gap_share"] >= 1 / 3 for body in found
        ],
        "3. the student gains at equal cost": [body["gains"][0]["equal_cost"] > 0 for body in found],
        "4. the pruned network gains at equal epochs": [body["gains"][1]["equal_epochs"] > 0 for body in found],
        "5. the pruned network gains at equal cost": [body["gains"][1]["equal_cost"] > 0 for body in found],
    }
    return [
        f"{name}: {sum(each)} of {len(each)} seeds{'' if sum(each) >= WANTED * len(each) else ': not shown'}"
        for name, each in holds.items()
    ]


def main() -> None:
    """Runs what is missing, prints the table."""
    args = parse()
    if not args.table:
        from kd_yolo.yolo.guard import prepare_process

        prepare_process()
        for seed in args.seeds:
            run_seed(seed, args)
    print(table(args.out))


if __name__ == "__main__":
    main()
