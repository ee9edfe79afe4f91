"""What does a training step cost under each distillation loss?

    python benchmarks/step_cost.py

All methods live in one process and take turns step by step, so that noise hits all alike. The first unit is a plain
training step plus a forward pass of the fused teacher: what any distillation that runs the whole teacher has to pay;
the second is the plain step alone: what a user pays beside plain training. CPU time is counted, not wall time, so that
other processes on the machine count less. A teacher that runs in every second step is measured over two steps; kept
responses are those of views that were seen before, at all anchors, which is the most that there can be. Peak memory is
that of a process of its own for each method (``--skip-memory`` leaves it out). Writes
``docs/benchmarks/step_cost.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ.update(YOLO_AUTOINSTALL="false", OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))

METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "shipped": {"distill_model": True},
    "cwd": {"loss": "cwd"},
    "mgd": {"loss": "mgd"},
    "mgd bottleneck": {"loss": [{"loss": "mgd", "params": {"bottleneck": 64}}]},
    "l2": {"loss": "l2"},
    "pkd": {"loss": "pkd"},
    "score_l2": {"loss": "score_l2"},
    "bkd": {"loss": "bkd"},
    "kl": {"loss": "kl"},
    "cwd+bkd": {"loss": "cwd+bkd"},
    "dfl_kl": {"loss": "dfl_kl"},
    "box_iou": {"loss": "box_iou"},
    "obj_gated": {"loss": "obj_gated"},
    "obj_gated_kl": {"loss": "obj_gated_kl"},
    "crosskd": {"loss": "crosskd"},
    "fgd": {"loss": "fgd"},
    "bkd assigned": {"loss": "bkd", "gate": "assigned"},
    "bkd+dfl_kl": {"loss": "bkd+dfl_kl", "gate": "balanced"},
    "bkd+dfl_kl every 2": {"loss": "bkd+dfl_kl", "gate": "balanced", "teacher_every": 2},
    "bkd+dfl_kl half": {"loss": "bkd+dfl_kl", "gate": "balanced", "teacher_half": True},
    "bkd+dfl_kl cached": {"loss": "bkd+dfl_kl", "gate": "balanced", "teacher_cache": 1},
    "bkd+dfl_kl openvino": {"loss": "bkd+dfl_kl", "gate": "balanced", "teacher_runtime": "openvino"},
    "bkd+dfl_kl openvino half": {
        "loss": "bkd+dfl_kl",
        "gate": "balanced",
        "teacher_runtime": "openvino",
        "teacher_half": True,
    },
    "bkd+box_iou": {"loss": "bkd+box_iou"},
    "int8": {"quantize": 8},
    "int8 bkd+dfl_kl": {"loss": "bkd+dfl_kl", "gate": "balanced", "quantize": 8},
}
LIMITS = {"cwd": 0.98, "mgd bottleneck": 1.10, "bkd": 1.08, "cwd+bkd": 1.08}
LIMITS |= {"dfl_kl": 1.12, "box_iou": 1.12, "obj_gated": 1.12, "obj_gated_kl": 1.12, "crosskd": 1.12, "fgd": 1.25}
LIMITS |= {"bkd+dfl_kl every 2": 0.80}
COLUMNS = (("ratio", "limit"), ("of_plain", "limit_of_plain"))
LIMITS_OF_PLAIN = {"bkd+dfl_kl cached": 1.15}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="yolov8n.yaml")
    parser.add_argument("--teacher", default="yolov8s.yaml")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "step_cost.json")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_weights(yaml: str, classes: int, path: Path) -> str:
    """Untrained weights: the cost of a step does not depend on their values."""
    import torch

    from kd_yolo.training.stage import open_network, task_of

    torch.manual_seed(0)
    model = open_network(yaml, task_of(yaml))
    model.model = type(model.model)(yaml, nc=classes, verbose=False)
    model.save(str(path))
    return str(path)


def make_trainer(method: str, args: argparse.Namespace) -> Any:
    """A trainer of one method, set up as if training were about to start."""
    from ultralytics.models.rtdetr.train import RTDETRTrainer
    from ultralytics.models.yolo.detect import DetectionTrainer

    from kd_yolo.distill.teachers import responses
    from kd_yolo.distill.trainer import TRAINERS
    from kd_yolo.training.stage import task_of
    from kd_yolo.training.trainers import RETRAINERS

    own = dict(METHODS[method])
    teacher, task = str(args.work / "teacher.pt"), task_of(str(args.work / "student.pt"))
    cls: Any = DetectionTrainer if task == "detect" else RTDETRTrainer
    if "loss" in own:
        cls, own = TRAINERS[task], {**own, "teacher": teacher}
        if "teacher_cache" in own:
            own["teacher_cache_dir"] = str(args.work / "cache")
            responses.SCORE_MIN = 0.0
    elif "quantize" in own:
        cls = RETRAINERS[task]
    elif own:
        own = {"distill_model": teacher}
    trainer = cls(
        overrides={
            "model": str(args.work / "student.pt"),
            "data": str(args.work / "street" / "data.yaml"),
            "epochs": 100,
            "imgsz": args.imgsz,
            "batch": args.batch,
            "nbs": args.batch,
            "device": getattr(args, "device", "cpu"),  # gpu_league.py sets another one
            "workers": 0,
            "plots": False,
            "optimizer": "SGD",
            "project": str(args.work / "runs"),
            "name": method.replace(" ", "-"),
            "verbose": False,
            **own,
        }
    )
    trainer._setup_train()
    trainer.epoch = 0
    trainer._model_train()
    return trainer


def step(trainer: Any, batch: dict[str, Any]) -> None:
    """One training step, as the training loop does it."""
    ready = trainer.preprocess_batch(dict(batch))
    loss, _ = trainer.model(ready)
    loss.sum().backward()
    trainer.optimizer_step()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of a step (median over rounds) for every method and for the fused teacher."""
    import torch

    from kd_yolo.yolo.files.loading import load_checkpoint

    trainers = {method: make_trainer(method, args) for method in args.methods}
    batch = next(iter(trainers["plain"].train_loader))
    image = batch["img"].float() / 255
    teacher = load_checkpoint(args.work / "teacher.pt")[0].requires_grad_(False)
    teacher.fuse(verbose=False)
    batch["view"] = tuple(range(len(batch["img"])))  # for kept responses; the others do not look at it
    steps = {method: METHODS[method].get("teacher_every", 1) for method in trainers}
    jobs = {m: (lambda t=t, n=steps[m]: [step(t, batch) for _ in range(n)]) for m, t in trainers.items()} | {
        "fused teacher": lambda: teacher(image)
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(args.rounds + 2):
        for name in sorted(jobs, key=lambda n: hash((n, turn))):  # another order each round
            start = time.process_time()
            jobs[name]()
            if turn >= 2:  # the first rounds warm up
                times[name].append((time.process_time() - start) / steps.get(name, 1))
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
    return {name: statistics.median(values) for name, values in times.items()}


def peak_memory(method: str, args: argparse.Namespace) -> float:
    """Peak resident memory in MiB of a process that runs this method alone for four steps; the median of three."""
    words = [sys.executable, __file__, "--memory-of", method, "--work", str(args.work)]
    words += ["--imgsz", str(args.imgsz), "--batch", str(args.batch)]
    runs = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for _ in range(3)]
    return statistics.median(float(out.strip().splitlines()[-1]) for out in runs)


def run_for_memory(args: argparse.Namespace) -> None:
    """The body of :func:`peak_memory`'s process."""
    trainer = make_trainer(args.memory_of, args)
    batch = next(iter(trainer.train_loader))
    for _ in range(4):
        step(trainer, batch)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def report(times: dict[str, float], memory: dict[str, float], args: argparse.Namespace) -> None:
    """Prints the table and writes the JSON."""
    import torch
    import ultralytics

    unit = times["plain"] + times["fused teacher"]
    rows: dict[str, dict[str, float | None]] = {
        m: {
            "ratio": times[m] / unit,
            "of_plain": times[m] / times["plain"],
            "peak_mib": memory.get(m),
            "limit": LIMITS.get(m),
            "limit_of_plain": LIMITS_OF_PLAIN.get(m),
        }
        for m in args.methods
    }
    print("\n| method | step / (plain + fused teacher) | limit | step / plain | limit | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        ratio, of_plain = (f"{row[key]:.3f} | {row[limit] or ''}" for key, limit in COLUMNS)
        print(f"| {name} | {ratio} | {of_plain} | {row['peak_mib'] or ''} |")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    setup = {
        "student": args.student, "teacher": args.teacher, "imgsz": args.imgsz, "batch": args.batch,
        "rounds": args.rounds, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "ultralytics": ultralytics.__version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit,
    }  # fmt: skip
    write_json(args.out, {"setup": setup, "methods": rows})


def main() -> None:
    """Measures time and memory."""
    args = parse()
    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    if args.memory_of:
        run_for_memory(args)
        return
    from kd_yolo.builtin.street_set import make_street

    with tempfile.TemporaryDirectory() as folder:
        args.work = Path(folder)
        made = make_street(args.work / "street", "smoke")
        classes = len(next(iter(made.boxes.values())))
        write_weights(args.student, classes, args.work / "student.pt")
        write_weights(args.teacher, classes, args.work / "teacher.pt")
        memory = {} if args.skip_memory else {method: peak_memory(method, args) for method in args.methods}
        report(measure(args), memory, args)


if __name__ == "__main__":
    main()
