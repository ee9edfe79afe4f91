"""How far is a resumed run from an undisturbed one? Ultralytics' own resume against ours, on CPU.

    python benchmarks/resume_exact.py

Trains on the built-in ``smoke`` images, kills a copy of the run in mid-epoch, resumes it, and compares the
losses in ``results.csv`` and the final weights. Writes ``docs/benchmarks/resume_exact.json``.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS="1")
EPOCHS, KILLED_IN = 6, 3


class Killed(BaseException):
    """Ends a run as an external signal would."""


def kill(trainer: Any) -> None:
    """Callback: dies in the first batch of an epoch."""
    if trainer.epoch == KILLED_IN:
        raise Killed


def train(folder: Path, name: str, data: Path, own: dict[str, Any], *, killed: bool = False) -> None:
    """One run, killed in mid-epoch and resumed if asked."""
    from ultralytics import YOLO

    weights = str(folder / "student.pt")
    model = YOLO(weights)
    if killed:
        model.add_callback("on_train_batch_end", kill)
    shared = {
        "data": str(data), "epochs": EPOCHS, "imgsz": 96, "batch": 4, "device": "cpu", "workers": 0, "plots": False,
        "verbose": False, "optimizer": "AdamW", "lr0": 0.001, "close_mosaic": 2, "project": str(folder), "name": name,
    }  # fmt: skip
    try:
        model.train(**shared, **own)
    except Killed:
        last = str(folder / name / "weights" / "last.pt")
        trainer = {key: own[key] for key in own if key == "trainer"}
        YOLO(last).train(resume=last, **trainer)


def distance(first: Path, second: Path) -> dict[str, float]:
    """Largest difference of a training loss and of a weight between two runs."""
    import torch

    from kd_yolo.yolo.files.loading import load_checkpoint

    rows = [list(csv.DictReader((run / "results.csv").open())) for run in (first, second)]
    losses = [
        abs(float(a[k]) - float(b[k]))
        for a, b in zip(*rows, strict=True)
        for k in a
        if k.startswith(("train/", "val/"))
    ]
    states = [load_checkpoint(run / "weights" / "last.pt")[0].state_dict() for run in (first, second)]
    weights = max(float((states[0][k].double() - states[1][k].double()).abs().max()) for k in states[0])
    assert torch.get_num_threads() == 1
    return {"largest loss difference": max(losses), "largest weight difference": weights}


def main() -> None:
    """Runs both ways."""
    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    from step_cost import write_weights

    from kd_yolo.builtin.street_set import make_street
    from kd_yolo.distill.trainer import DistillationTrainer

    results = {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        made = make_street(folder / "street", "smoke")
        write_weights("yolov8n.yaml", 5, folder / "student.pt")
        write_weights("yolov8s.yaml", 5, folder / "teacher.pt")
        ours = {"trainer": DistillationTrainer, "teacher": str(folder / "teacher.pt"), "loss": "cwd+bkd"}
        for name, own in {"ultralytics": {}, "kd-yolo": ours}.items():
            train(folder, f"{name}-whole", made.data_yaml, own)
            train(folder, f"{name}-cut", made.data_yaml, own, killed=True)
            results[name] = distance(folder / f"{name}-whole", folder / f"{name}-cut")
    target = ROOT / "docs" / "benchmarks" / "resume_exact.json"
    write_json(target, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
