"""RT-DETR with few labels: does distillation bring something that longer plain training does not?

    python benchmarks/rtdetr.py --data path/to/bccd/data.yaml --weights path/to/folder

The experiment of ``few_labels.py`` with other networks: ultralytics' ``yolov8-rtdetr.yaml`` with a small decoder
(width 128, 100 queries, 3 layers), so that a training fits a CPU. Backbone and neck start from ``yolov8n.pt`` (student)
and ``yolov8s.pt`` (teacher), the decoder from scratch. The first ``--labels`` training images keep their labels, the
teacher is fine-tuned on all; the student trains on the labelled ones alone, with the other images unlabelled in each
step, and on the labelled ones for as long as that takes. An interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from few_labels import UNLABELLED, add_arguments, run_league
from seeded import TRAIN

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
SETTINGS = {**TRAIN, "batch": 8, "nbs": 8, "lr0": 3e-4, "warmup_epochs": 1}


def main() -> int:
    """Builds the networks, and runs the league."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--weights", type=Path, required=True, help="folder with yolov8n.pt and yolov8s.pt")
    parser.set_defaults(
        seeds="0,1,2", teacher_labels="all", epochs=12, teacher_epochs=40, runs=Path("runs/benchmarks/rtdetr"),
        out=ROOT / "docs" / "results" / "rtdetr",
    )  # fmt: skip
    args = parser.parse_args()
    teacher, student = (str(start(args.runs.resolve(), args.weights, scale)) for scale in "sn")
    return run_league(args, teacher, student, SETTINGS, [UNLABELLED])


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
