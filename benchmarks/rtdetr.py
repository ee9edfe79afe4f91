"""A pruned RT-DETR: does distillation from its unpruned self give more than retraining, at equal steps and cost?

    python benchmarks/rtdetr.py --data path/to/bccd/data.yaml --weights path/to/folder

The experiment of ``after_pruning.py`` with one other network: ultralytics' ``yolov8s-rtdetr.yaml`` with a small decoder
(width 128, 100 queries, 3 layers), so that a training fits a CPU. Backbone and neck start from ``yolov8s.pt``, the
decoder from scratch; fine-tuned once, for ``--base-epochs``. Backbone and encoder are pruned, the decoder is kept. The
recipe is the default, ``auto``. An interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from after_pruning import chain, keep, run_seed, table
from seeded import TRAIN, train_and_print

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
SETTINGS = {**TRAIN, "batch": 8, "nbs": 8, "lr0": 3e-4, "warmup_epochs": 1}
RECIPE = {"loss": "auto"}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path, help="folder with yolov8s.pt")
    parser.add_argument("--set", dest="set_name", help="name of the results folder (default: the data folder's name)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--factors", type=float, nargs="+", default=[0.5])
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--base-epochs", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/rtdetr"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "rtdetr")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Everything that is missing: the base, then seed by seed."""
    args.device, args.twice, args.start = "cpu", False, start(args.runs.resolve(), args.weights, "s")
    data = str(args.data.resolve())
    base = chain(args, "base", args.start, SETTINGS, 0).base_train(data, args.base_epochs).path
    keep(args, "base-s0", base, {"seed": 0}, RECIPE, SETTINGS)
    for seed in args.seeds:
        run_seed(seed, args, base, RECIPE, {**SETTINGS, "close_mosaic": 3})


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
    train_and_print(parse(), run, table)
