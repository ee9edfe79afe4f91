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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import TRAIN

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="weights of the teacher before fine-tuning")
    parser.add_argument("--student", required=True, help="weights of the student")
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--teacher-labels", choices=["few", "all"], default="few")
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
    return parser.parse_args()


def split_set(args: argparse.Namespace, folder: Path) -> tuple[Path, Path, Path]:
    """YAMLs of the labelled images, each listed ``--times`` times, and of the whole set; the list of the others."""
    import yaml

    from kd_yolo.data.spec import list_images, read_data_yaml

    spec = read_data_yaml(args.data)
    folder.mkdir(parents=True, exist_ok=True)
    images = {split: [str(file) for file in list_images(spec, split)] for split in spec.splits}
    few, rest = images["train"][: args.labels], images["train"][args.labels :]
    for name, files in {"few": few * args.times, "rest": rest, **images}.items():
        (folder / f"{name}.txt").write_text("".join(f"{file}\n" for file in files))
    for name in ("few", "train"):
        body = {**{split: f"{split}.txt" for split in images}, "train": f"{name}.txt", "names": spec.names}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(body))
    return folder / "few.yaml", folder / "train.yaml", folder / "rest.txt"


def main() -> int:
    """Makes the set and the teacher of all labels, and runs the league."""
    from kd_yolo.cli.app import main as kd_yolo
    from kd_yolo.training.stage import train_stage
    from kd_yolo.training.trainers import RETRAINERS
    from kd_yolo.yolo.guard import prepare_process

    args = parse()
    prepare_process()
    name = f"{args.data.resolve().parent.name}-{args.labels}-{args.teacher_labels}"
    folder = (args.runs / name).resolve()
    few, whole, rest = split_set(args, folder / "set")
    if args.teacher_labels == "all":
        settings = {**TRAIN, "imgsz": args.imgsz, "data": str(whole), "epochs": args.teacher_epochs, "seed": 0}
        teacher = [str(train_stage(RETRAINERS, args.teacher, folder / "teacher", settings))]
    else:
        teacher = [args.teacher, "--teacher-epochs", str(args.teacher_epochs), "--teacher-seeds", args.teacher_seeds]
    words = ["--losses", "auto", f"unlabelled=auto:unlabelled={rest}", "none@cost", "--seeds", args.seeds]
    words += ["--teacher", *teacher, "--student", args.student, "--split", args.split, "--name", name]
    words += ["--out", str(args.out / name), *(["--claims", str(args.claims)] if args.claims else [])]
    settings = {**TRAIN, "imgsz": args.imgsz, "epochs": args.epochs, "data": str(few), "project": str(folder)}
    words += [f"{key}={value}" for key, value in settings.items() if key != "verbose"]
    return kd_yolo(["league", *words, *(["--table"] if args.table else [])])


if __name__ == "__main__":
    sys.exit(main())
