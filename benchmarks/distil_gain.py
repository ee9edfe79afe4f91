"""How much accuracy does each distillation loss bring? Same student, data order and schedule, several seeds.

    python benchmarks/distil_gain.py --data path/to/data.yaml --teacher weights/yolov8s.pt --student weights/yolov8n.pt

The teacher is fine-tuned once (``--teacher-epochs``) and kept; then the student is trained under every recipe and
seed. Every finished run is one JSON file under ``docs/benchmarks/distil_gain/<set>/``: an interrupted league goes on
from there. ``--table`` prints what is there: mAP50-95 mean +- sd on the test split (val where there is none), and the
share of the gap between undistilled student and teacher that each recipe closes.

A recipe is ``name=loss[:key=value,...]``: ``--recipes none shipped cwd=cwd both=cwd+bkd:weight=1+2``.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "distil_gain"
DEFAULT_RECIPES = ("none", "shipped", "l2", "pkd", "cwd", "mgd", "score_l2", "bkd", "kl", "cwd+bkd")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--teacher", type=Path, help="weights or YAML of the teacher before fine-tuning")
    parser.add_argument("--student", type=Path, help="weights or YAML of the student")
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--recipes", nargs="+", default=list(DEFAULT_RECIPES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--imgsz", type=int, default=192)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--teacher-epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/distil_gain"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def options(args: argparse.Namespace, seed: int, epochs: int) -> dict[str, Any]:
    """The training arguments that every run shares."""
    return {
        "data": str(args.data.resolve()),
        "epochs": epochs,
        "imgsz": args.imgsz,
        "batch": args.batch,
        "optimizer": "AdamW",
        "lr0": 1e-3,
        "seed": seed,
        "device": "cpu",
        "workers": 0,
        "plots": False,
        "verbose": False,
        "exist_ok": True,
    }


def score(weights: Path, args: argparse.Namespace) -> dict[str, float]:
    """mAP of a checkpoint on the test split, or on val where the data has no test split."""
    import yaml
    from ultralytics import YOLO

    split = "test" if "test" in yaml.safe_load(args.data.read_text()) else "val"
    metrics = YOLO(str(weights)).val(
        data=str(args.data.resolve()), imgsz=args.imgsz, batch=32, device="cpu", workers=0, split=split, plots=False,
        verbose=False, project=str(args.runs.resolve()), name="score", exist_ok=True,
    )  # fmt: skip
    return {"split": split, "map": float(metrics.box.map), "map50": float(metrics.box.map50)}


def train_teacher(args: argparse.Namespace) -> Path:
    """Fine-tunes the teacher once; its weights and score are kept."""
    from ultralytics import YOLO

    folder = (args.runs / args.set_name / "teacher").resolve()
    best = folder / "weights" / "best.pt"
    if not (folder / "done.json").is_file():
        YOLO(str(args.teacher)).train(
            **options(args, 0, args.teacher_epochs), project=str(folder.parent), name=folder.name
        )
        (folder / "done.json").write_text(json.dumps(score(best, args)))
    write(args.out / args.set_name / "teacher.json", {**json.loads((folder / "done.json").read_text()), **setup(args)})
    return best


def train_student(args: argparse.Namespace, recipe: str, seed: int, teacher: Path) -> None:
    """Trains the student under one recipe and seed and writes its JSON, unless it is there."""
    from ultralytics import YOLO

    from kd_yolo.distill.trainer import DistillationTrainer

    name, _, text = recipe.partition("=")
    target = args.out / args.set_name / f"{name}-s{seed}.json"
    if target.is_file():
        return
    folder = (args.runs / args.set_name / f"{name}-s{seed}").resolve()
    extra: dict[str, Any] = {}
    if name == "shipped":
        extra = {"distill_model": str(teacher)}
    elif name != "none":
        loss, _, flags = (text or name).partition(":")
        pairs = dict(flag.split("=", 1) for flag in flags.split(",") if flag)
        extra = {"trainer": DistillationTrainer, "teacher": str(teacher), "loss": loss, **pairs}
    YOLO(str(args.student)).train(
        **options(args, seed, args.epochs), **extra, project=str(folder.parent), name=folder.name
    )
    write(target, {"recipe": recipe, "seed": seed, **score(folder / "weights" / "best.pt", args), **setup(args)})


def setup(args: argparse.Namespace) -> dict[str, Any]:
    """What has to be known to repeat a figure."""
    import torch
    import ultralytics

    return {
        "imgsz": args.imgsz, "batch": args.batch, "epochs": args.epochs, "teacher_epochs": args.teacher_epochs,
        "teacher": args.teacher.name, "student": args.student.name, "torch": torch.__version__,
        "ultralytics": ultralytics.__version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
    }  # fmt: skip


def write(path: Path, values: dict[str, Any]) -> None:
    """Writes a result beside and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1) + "\n")
    partial.replace(path)


def table(folder: Path) -> str:
    """The Markdown table of all results of a set; gains are paired, seed by seed, with two other recipes."""
    runs: dict[str, dict[int, float]] = {}
    for file in sorted(folder.glob("*-s*.json")):
        result = json.loads(file.read_text())
        runs.setdefault(result["recipe"], {})[result["seed"]] = result["map"]
    teacher = json.loads((folder / "teacher.json").read_text())["map"]
    lines = [
        "| recipe | seeds | mAP50-95 | gain over `none` | gain over `shipped` | gap to the teacher closed |",
        "|---|---|---|---|---|---|",
        f"| teacher | | {teacher:.4f} | | | |",
    ]
    for recipe, scores in sorted(runs.items(), key=lambda item: -statistics.mean(item[1].values())):
        cells = [f"`{recipe}`", str(len(scores)), spread(list(scores.values()), ".4f")]
        cells += [gain(scores, runs.get(other, {})) if recipe != other else "" for other in ("none", "shipped")]
        base = {seed: runs["none"][seed] for seed in scores if seed in runs.get("none", {})}
        closed = sum(scores[s] - base[s] for s in base) / sum(teacher - base[s] for s in base) if base else 0.0
        cells.append(f"{closed:+.0%}" if base and recipe != "none" else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def gain(scores: dict[int, float], other: dict[int, float]) -> str:
    """Mean and standard deviation of the differences between runs of the same seed."""
    gains = [scores[seed] - other[seed] for seed in scores if seed in other]
    return spread(gains, "+.4f") if gains else ""


def spread(values: list[float], form: str) -> str:
    """Mean and standard deviation; the latter needs two values."""
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{deviation}"


def main() -> None:
    """Runs the league."""
    args = parse()
    args.set_name = args.set_name or args.data.resolve().parent.name
    if not args.table:
        from kd_yolo.yolo.guard import prepare_process

        os.environ["OMP_NUM_THREADS"] = str(args.threads)
        prepare_process()
        teacher = train_teacher(args)
        for seed in args.seeds.split(","):
            for recipe in args.recipes:
                train_student(args, recipe, int(seed), teacher)
                print(table(args.out / args.set_name), flush=True)
    print(table(args.out / args.set_name))


if __name__ == "__main__":
    main()
