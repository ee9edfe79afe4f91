"""Does the demo hold? Its trainings (``kd-yolo demo``) for several seeds, which draw other images and other weights.

    python benchmarks/demo_seeds.py
    python benchmarks/demo_seeds.py --controls  # afterwards: the student distilled on its labelled images alone

Each finished seed is a JSON file with scores, costs, settings, versions and commit; an interrupted benchmark goes on.
What is claimed stands in ``claims.md`` beside the results and was written before the first of these runs. ``--table``
prints what is there and which claims hold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import commit

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
WANTED = 8  # of ten seeds in which a claim has to hold: fewer seeds show nothing yet


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/demo"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "demo")
    parser.add_argument("--controls", action="store_true", help="train the control of each finished seed as well")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def run_seed(seed: int, args: argparse.Namespace) -> None:
    """Trains all networks of one seed and writes its file."""
    from kd_yolo.pipeline.demo.closing import find_gains

    target = args.out / f"seed{seed}.json"
    if target.is_file():
        return
    start, demo = time.process_time(), make_demo(seed, args)
    trained = demo.train()
    gains = find_gains({one.name: one.score for one in trained})
    rows = {one.name: asdict(one) for one in trained}
    seconds = time.process_time() - start
    write_json(
        target, {**header(demo), "rows": rows, "gains": [asdict(gain) for gain in gains], "cpu_seconds": seconds}
    )


def run_control(seed: int, args: argparse.Namespace) -> None:
    """Distils the student of one seed without the unlabelled images and writes its file."""
    target = args.out / "labelled_only" / f"seed{seed}.json"
    if target.is_file() or not (args.out / f"seed{seed}.json").is_file():
        return
    demo = make_demo(seed, args)
    demo.train()
    write_json(target, {**header(demo), "row": asdict(demo.labelled_only())})


def make_demo(seed: int, args: argparse.Namespace) -> Any:
    """The demo of one seed: what is finished in its folder is not trained again."""
    from kd_yolo.pipeline.demo.train import Demo, DemoPlan

    folder = (args.runs / f"seed{seed}").resolve()
    return Demo(folder, DemoPlan(seed=seed), lambda text: print(text, end="", flush=True))


def header(demo: Any) -> dict[str, Any]:
    """What was trained how, and with what."""
    from kd_yolo.pipeline.demo.train import LOSS, TRAIN
    from kd_yolo.report.comparison import setup

    return {"plan": asdict(demo.plan), "loss": LOSS, "train": TRAIN, "commit": commit(), "setup": setup()}


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
    return "\n".join([*lines, "", *claims(found), *control(found, out)])


def control(found: list[dict[str, Any]], out: Path) -> list[str]:
    """How much the student has over one distilled on its labelled images alone, in the seeds where that was trained."""
    gains = []
    for body in found:
        file = out / "labelled_only" / f"seed{body['plan']['seed']}.json"
        if file.is_file():
            gains.append(body["rows"]["distilled"]["score"] - json.loads(file.read_text())["row"]["score"])
    if not gains:
        return ["control, distilled on the labelled images alone: no seed was trained"]
    return [f"the images without labels bring {statistics.mean(gains):+.3f} (mean of {len(gains)} seeds)"]


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
        f"{name}: {sum(each)} of {len(each)} seeds{'' if sum(each) >= WANTED else ': not shown'}"
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
            if args.controls:
                run_control(seed, args)
    print(table(args.out))


if __name__ == "__main__":
    main()
