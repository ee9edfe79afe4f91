"""RT-DETR students: does distillation bring something that longer plain training does not?

    python benchmarks/rtdetr.py --data path/to/bccd/data.yaml --weights path/to/folder

Networks are ultralytics' ``yolov8-rtdetr.yaml`` with a small decoder (width 128, 100 queries, 3 layers), so that a
training fits a CPU. Backbone and neck start from ``yolov8n.pt`` (student) and ``yolov8s.pt`` (teacher), the decoder
from scratch. The teacher is fine-tuned once, for ``--teacher-epochs``; then a league (``kd-yolo league``) trains the
student without it, under it, and without it for as long as the dearest of these takes. An interrupted benchmark goes
on.
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
SETTINGS = {**TRAIN, "batch": 8, "nbs": 8, "lr0": 3e-4, "warmup_epochs": 1}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder with yolov8n.pt and yolov8s.pt")
    parser.add_argument("--losses", nargs="+", default=["auto", "cwd"])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--teacher-epochs", type=int, default=40)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--claims", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/rtdetr"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "rtdetr")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def main() -> int:
    """Builds the networks, trains the teacher, and runs the league."""
    from kd_yolo.cli.app import main as kd_yolo
    from kd_yolo.league.report import make_report
    from kd_yolo.training.stage import train_stage
    from kd_yolo.training.trainers import RETRAINERS
    from kd_yolo.yolo.guard import prepare_process

    args = parse()
    name = args.data.resolve().parent.name
    runs, out = args.runs.resolve(), args.out / name
    if args.table:
        report = make_report(out, runs / name)
        print(report.to_markdown() if report else "no results yet")
        return 0
    prepare_process()
    settings = {**SETTINGS, "imgsz": args.imgsz, "data": str(args.data.resolve())}
    teacher, student = (start(runs, args.weights, scale) for scale in "sn")
    taught = {**settings, "epochs": args.teacher_epochs, "seed": 0}
    teacher = train_stage(RETRAINERS, str(teacher), runs / f"{name}-teacher", taught)
    words = ["--losses", *args.losses, "none@cost", "--seeds", args.seeds, "--teacher", str(teacher)]
    words += ["--student", str(student), "--split", args.split, "--name", name, "--out", str(out)]
    words += ["--claims", str(args.claims)] if args.claims else []
    settings |= {"epochs": args.epochs, "close_mosaic": 5, "project": str(runs)}
    return kd_yolo(["league", *words, *(f"{key}={value}" for key, value in settings.items() if key != "verbose")])


def start(folder: Path, weights: Path, scale: str) -> Path:
    """Weights of a network with a small decoder, whose other layers are those of a YOLOv8; made once."""
    import torch
    import ultralytics
    from ultralytics import RTDETR

    path = folder / f"yolov8{scale}-rtdetr-small.pt"
    if path.is_file():
        return path
    shipped = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8-rtdetr.yaml"
    text, full = shipped.read_text(encoding="utf-8"), "RTDETRDecoder, [nc]"
    assert text.count(full) == 1, "another yolov8-rtdetr.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    yaml = folder / f"yolov8{scale}-rtdetr-small.yaml"
    yaml.write_text(text.replace(full, "RTDETRDecoder, [nc, 128, 100, 4, 8, 3, 512]"), encoding="utf-8")
    torch.manual_seed(0)
    network = RTDETR(str(yaml))
    network.load(str(weights / f"yolov8{scale}.pt"))
    network.save(str(path))
    return path


if __name__ == "__main__":
    sys.exit(main())
