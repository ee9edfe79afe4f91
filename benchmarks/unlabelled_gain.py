"""How much of the labels that are missing can unlabelled images and a teacher give back?

    python benchmarks/unlabelled_gain.py --data path/to/data.yaml --teacher yolov8s.pt --student yolov8n.pt

Every second training image keeps its labels. The teacher is fine-tuned on that half alone. Then, seed by seed: the
student on the labelled half; distilled on it alone, which is the control; the same loss with the other half as
unlabelled images; and the student on all labels. Gains over the first are paired by seed, their intervals
(``benchmarks/intervals.py``) hold together. Finished runs are kept under
``docs/benchmarks/unlabelled_gain/<set>/``; ``--table`` prints them.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import write_sets

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
ARMS = {
    "l2": "obj_gated", "kl": "obj_gated_kl", "bkd_box": "bkd+dfl_kl", "all_round": "all_round", "balanced": "balanced",
}  # fmt: skip


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--teacher", help="weights of the teacher before fine-tuning")
    parser.add_argument("--student", help="weights of the student")
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--arms", nargs="+", default=["l2", "kl", "bkd_box"], choices=list(ARMS))
    parser.add_argument("--labelled-arms", nargs="*", help="arms also run without the other half (default: --arms)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--imgsz", type=int, default=192)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--teacher-epochs", type=int, default=20)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/unlabelled_gain"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "unlabelled_gain")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def leagues(args: argparse.Namespace) -> list[Any]:
    """The runs on the labelled half, and those on all labels."""
    from kd_yolo.config.rows import NONE, SHIPPED
    from kd_yolo.league.plan import Request, make_league

    folder = (args.runs / args.set_name).resolve()
    sets = write_sets(
        args.data, folder / "set", half=lambda images: images[::2], unlabelled=lambda images: images[1::2],
        whole=lambda images: images,
    )  # fmt: skip
    unlabelled = sets["unlabelled"].with_suffix(".txt")
    recipes = [f"{arm}={ARMS[arm]}" for arm in (args.arms if args.labelled_arms is None else args.labelled_arms)]
    recipes += [f"{arm}_unlabelled={ARMS[arm]}:unlabelled={unlabelled}" for arm in args.arms]
    found = []
    for name, data, losses in (("half", sets["half"], tuple(recipes)), ("whole", sets["whole"], ())):
        arguments = {
            "data": str(data), "epochs": args.epochs, "imgsz": args.imgsz, "batch": 16, "nbs": 16, "optimizer": "AdamW",
            "lr0": 1e-3, "device": "cpu", "workers": 0, "project": str(folder),
        }  # fmt: skip
        league = make_league(
            Request(
                losses, tuple(args.seeds), args.teacher, args.student, args.teacher_epochs, name,
                args.out / args.set_name / name, arguments=arguments, split="test",
            )
        )  # fmt: skip
        unwanted = {SHIPPED} if name == "half" else {SHIPPED, *(j.recipe.name for j in league.jobs)} - {NONE}
        found.append(replace(league, jobs=tuple(job for job in league.jobs if job.recipe.name not in unwanted)))
    return found


def table(folder: Path) -> str:
    """A row an arm: mean and sd over seeds, gain over the labelled half alone with its interval."""
    import intervals

    from kd_yolo.league.table import mean_sd, spread

    scores = intervals.unlabelled(folder)
    found = {item.recipe: item for item in intervals.with_none(scores)}
    runs = {arm: [score for (own, _), score in scores.items() if own == arm] for arm in intervals.arms(scores)}
    lines = [
        "| labels | arm | seeds | mAP50-95 | gain over the labelled half | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for arm in sorted(runs, key=lambda arm: sum(runs[arm]) / len(runs[arm])):
        item = found.get(arm)
        gain = " | " if item is None else f"{item.gain:+.4f} | {item.interval or ''}"
        labels, shown = (
            "whole" if arm == "whole" else "half",
            arm if arm not in ("none", "whole") else "no distillation",
        )
        lines.append(f"| {labels} | {shown} | {len(runs[arm])} | {spread(*mean_sd(runs[arm]), '.4f')} | {gain} |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is missing, prints the table."""
    args = parse()
    args.set_name = args.set_name or args.data.resolve().parent.name
    if not args.table:
        from kd_yolo.league.run import run_league
        from kd_yolo.yolo.guard import prepare_process

        prepare_process()
        for league in leagues(args):
            _, failures = run_league(league, say=lambda line: print(line, flush=True))
            print("\n".join(failures))
    print(table(args.out / args.set_name))


if __name__ == "__main__":
    main()
