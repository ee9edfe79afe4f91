"""Does a student learn from kept responses what it learns from the live teacher?

    python benchmarks/teacher_cache.py --teacher best.pt --data my/data.yaml --student yolov8n.pt

First the losses on the same images, kept against live: how far they are from each other, and how much room they take.
Then, for each of ``--seeds``, three trainings with everything else equal: the live teacher on fresh views, the live
teacher on fixed views, and the kept responses of these views. The second and the third see the same images; the first
tells what fixed views cost. Writes mAP50-95 on val and CPU seconds; seeds after the first find the cache filled.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from seeded import SCORE, commit

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
LOSSES = ("bkd", "dfl_kl", "box_iou", "obj_gated")
ARMS = ("live, fresh views", "live, fixed views", "kept, fixed views")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", default="yolov8n.pt")
    parser.add_argument("--data", required=True)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=32, help="for the comparison of losses")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "teacher_cache.json")
    return parser.parse_args()


def compare_losses(args: argparse.Namespace) -> dict[str, Any]:
    """Each response loss under both gates: kept over live, less 1; a student with the classes of the data."""
    import torch

    from kd_yolo.config.term import TermConfig
    from kd_yolo.data.spec import read_data_yaml
    from kd_yolo.distill.classes import student_for
    from kd_yolo.distill.outputs import Outputs
    from kd_yolo.distill.response import ResponseTerm
    from kd_yolo.distill.teachers.responses import kept_confidence, raw_responses, sparse_responses
    from kd_yolo.distill.teachers.teacher import Teacher
    from kd_yolo.yolo.data.batches import Images, batches
    from kd_yolo.yolo.files.loading import load_checkpoint
    from kd_yolo.yolo.heads import head_facts, raw_outputs

    model = load_checkpoint(args.teacher)[0].float()
    student = student_for(load_checkpoint(args.student)[0].float(), read_data_yaml(args.data)).train()
    image = next(batches(model, Images(args.data, args.imgsz, args.images), args.images))["img"]
    facts, teacher = head_facts(model), Teacher(model).watch([], needs_head=True)
    with torch.no_grad():
        own, live = Outputs({}, raw_outputs(student(image))), teacher(image)
    assert live.raw is not None
    sparse = sparse_responses(live.raw)
    kept = Outputs({}, raw_responses(sparse, facts, image))
    found: dict[str, float] = {}
    for loss in LOSSES:
        for gate in ("confidence", "balanced"):
            term = ResponseTerm(TermConfig(loss=loss, gate=gate), head_facts(student), facts)
            found[f"{loss}, {gate}"] = float(term.compare(own, kept) / term.compare(own, live)) - 1
    num_bytes = sum(one.nbytes for one in sparse) / len(sparse)
    return {"difference": found, "bytes_per_view": num_bytes, "confidence_kept": kept_confidence(live.raw)}


def train(arm: str, seed: int, args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """One run: its mAP50-95 on val and its CPU seconds."""
    from ultralytics import YOLO

    from kd_yolo.distill.teachers.cached import CachedTeacher
    from kd_yolo.distill.trainer import DistillationTrainer

    own = {} if "fresh" in arm else {"teacher_cache": args.views, "teacher_cache_dir": str(work / "cache")}
    live = mock.patch.object(CachedTeacher, "__call__", lambda self, image: self.teacher(image))
    with live if arm.startswith("live") else mock.MagicMock():
        start, model = time.process_time(), YOLO(args.student)
        model.train(
            trainer=DistillationTrainer, teacher=args.teacher, loss="bkd+dfl_kl", weight="2+4", gate="balanced",
            schedule="constant", data=args.data, epochs=args.epochs, imgsz=args.imgsz, batch=16, nbs=16, seed=seed,
            close_mosaic=max(args.epochs // 4, 1), optimizer="AdamW", lr0=0.001, device="cpu", workers=0, plots=False,
            verbose=False, val=False, project=str(work / "runs"), name=f"{ARMS.index(arm)}-s{seed}", **own,
        )  # fmt: skip
    score = float(model.trainer.metrics[SCORE])
    return {"arm": arm, "seed": seed, "map50_95": score, "cpu_s": time.process_time() - start}


def main() -> None:
    """Trains all arms and writes the JSON after each seed."""
    args = parse()
    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    import torch
    import ultralytics

    setup = {key: Path(value).name if isinstance(value, str) else value for key, value in vars(args).items()}
    setup |= {"out": None, "torch": torch.__version__, "ultralytics": ultralytics.__version__, "commit": commit()}
    setup |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    losses, runs = compare_losses(args), list[dict[str, Any]]()
    print(f"kept: {losses['confidence_kept']:.2%} of the confidence, {losses['bytes_per_view'] / 1e3:.0f} kB a view")
    print("\n".join(f"{name}: {value:+.2%}" for name, value in losses["difference"].items()))
    write_json(args.out, {"setup": setup, "losses": losses, "runs": runs})
    with tempfile.TemporaryDirectory() as folder:
        for seed in args.seeds:
            for arm in ARMS:
                runs.append(train(arm, seed, args, Path(folder)))
                print(f"seed {seed}, {arm}: mAP50-95 {runs[-1]['map50_95']:.4f}, {runs[-1]['cpu_s']:.0f} CPU seconds")
            write_json(args.out, {"setup": setup, "losses": losses, "runs": runs})


if __name__ == "__main__":
    main()
