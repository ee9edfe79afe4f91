"""Few labels: does distillation bring something that longer plain training does not?

    python benchmarks/few_labels.py --data path/to/bccd/data.yaml --teacher yolov8s.pt --student yolov8n.pt

The first ``--labels`` training images of the data keep their labels, the others go without. The teacher is fine-tuned
on the labelled ones alone (``--teacher-labels few``) or on all (``all``: somebody else has trained it). The student
trains on the labelled ones without a teacher (``none``), under it (``auto``: the default loss), under it with the other
images unlabelled in each step (``unlabelled``), and without it for as long as the dearest of these takes
(``none@cost``): a league (``kd-yolo league``), its rows, intervals and claims. An epoch goes ``--times`` times through
the labelled images, because each epoch costs a validation. An interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import TRAIN, write_sets

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
UNLABELLED = "unlabelled=auto:unlabelled="  # the file with the images follows


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--teacher", required=True, help="weights of the teacher before fine-tuning")
    parser.add_argument("--student", required=True, help="weights of the student")
    return parser.parse_args()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every such experiment takes."""
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--teacher-labels", choices=["few", "all"], default="few")
    parser.add_argument("--onnx", action="store_true", help="the teacher of all labels teaches from an ONNX file")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--teacher-seeds", default="0,1,2,3,4", help="runs of the teacher that learns from few labels")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--teacher-epochs", type=int, default=15)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--claims", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/few_labels"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "few_labels")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")


def main() -> int:
    """Makes the set and the teacher of all labels, and runs the league."""
    args = parse()
    return run_league(args, args.teacher, args.student, TRAIN, (UNLABELLED,) if args.onnx else ("auto", UNLABELLED))


def run_league(args: argparse.Namespace, teacher: str, student: str, train: dict[str, Any], arms: Sequence[str]) -> int:
    """Makes the set and the teacher, and runs the league.

    Args:
        args: as :func:`parse` gives them.
        teacher: weights before fine-tuning.
        student: weights of the student.
        train: ultralytics' arguments of all runs.
        arms: rows beside the plain ones; :data:`UNLABELLED` is filled in.
    """
    from kd_yolo.cli.app import main as kd_yolo
    from kd_yolo.league.report import make_report
    from kd_yolo.training.stage import train_stage
    from kd_yolo.training.trainers import RETRAINERS
    from kd_yolo.yolo.guard import prepare_process

    made = f"{args.data.resolve().parent.name}-{args.labels}-{args.teacher_labels}"
    name = made + "-onnx" * args.onnx
    folder, out = (args.runs / made).resolve(), args.out / name
    if args.table:
        report = make_report(out, folder)
        print(report.to_markdown() if report else "no results yet")
        return 0
    prepare_process()
    sets = write_sets(
        args.data, folder / "set", few=lambda images: images[: args.labels] * args.times,
        rest=lambda images: images[args.labels :], whole=lambda images: images,
    )  # fmt: skip
    train = {**train, "imgsz": args.imgsz}
    taught = [teacher, "--teacher-epochs", str(args.teacher_epochs), "--teacher-seeds", args.teacher_seeds]
    if args.teacher_labels == "all":
        settings = {**train, "data": str(sets["whole"]), "epochs": args.teacher_epochs, "seed": 0}
        best = train_stage(RETRAINERS, teacher, folder / "teacher", settings)
        taught = [str(exported(best, args.imgsz) if args.onnx else best)]
    rows = [f"{arm}{sets['rest'].with_suffix('.txt')}" if arm == UNLABELLED else arm for arm in arms]
    words = ["--losses", *rows, "none@cost", "--seeds", args.seeds, "--teacher", *taught, "--student", student]
    words += ["--split", args.split, "--name", name, "--out", str(out)]
    words += ["--claims", str(args.claims)] if args.claims else []
    settings = {**train, "epochs": args.epochs, "data": str(sets["few"]), "project": str(folder)}
    words += [f"{key}={value}" for key, value in settings.items() if key != "verbose"]
    return kd_yolo(["league", *words])


def exported(weights: Path, imgsz: int) -> Path:
    """An ONNX file beside the weights, as ``yolo export format=onnx dynamic=True`` writes it."""
    from ultralytics import YOLO

    file = weights.with_suffix(".onnx")
    return file if file.is_file() else Path(YOLO(weights).export(format="onnx", imgsz=imgsz, dynamic=True))


if __name__ == "__main__":
    sys.exit(main())
