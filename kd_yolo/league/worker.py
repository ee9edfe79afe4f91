"""The process of one run: ``python -m kd_yolo.league.worker`` with the job, a line of JSON, on standard input.

Standard input stays open for as long as the league lives. When it closes, the run is interrupted as by Ctrl-C: no
training is left behind, however the league ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kd_yolo.base.columns import read_columns
from kd_yolo.base.errors import EXIT_INTERRUPTED, KDYoloError
from kd_yolo.base.files import write_bytes, write_json, write_text
from kd_yolo.base.places import ROOT, is_checkout
from kd_yolo.league.images import ImageScores
from kd_yolo.league.job import Job

ERROR_FILE = "error.txt"


def main() -> int:
    """Runs the job and returns the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit a deaf one
    job = Job.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_interrupt_at_the_end, daemon=True).start()
    error_file = job.folder / ERROR_FILE
    error_file.unlink(missing_ok=True)
    try:
        from kd_yolo.yolo.guard import check_ultralytics, prepare_process

        prepare_process()
        check_ultralytics()
        work(job)
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        is_ours = isinstance(error, KDYoloError)
        if not is_ours:
            traceback.print_exc()
        write_text(error_file, str(error) if is_ours else f"{type(error).__name__}: {error}")
        return error.exit_code if isinstance(error, KDYoloError) else 1


def _interrupt_at_the_end() -> None:
    """Waits until standard input closes; unbuffered, as a lock on it would be held when the process ends."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def work(job: Job) -> None:
    """Trains, evaluates, and writes the statistics of the images and the result.

    Raises:
        KDYoloError: see :func:`kd_yolo.league.train.train`.
    """
    from kd_yolo.league.train import train
    from kd_yolo.training.usage import read_usage

    weights = train(job)
    scores, images = _evaluate(job, weights)
    write_bytes(job.images, images.to_bytes())
    curve = read_columns(job.folder / "results.csv").get("metrics/mAP50-95(B)", [])  # on val, by epoch
    usage = {} if job.kind in ("score", "random") else asdict(read_usage(job.folder))
    result = {
        "recipe": job.recipe.name,
        "loss": str(job.recipe),
        "seed": job.seed,
        "split": job.split,
        "images": len(images.names),
        **({"control": job.recipe.control} if job.recipe.control else {}),
        **({"epochs": job.arguments["epochs"]} if "epochs" in job.arguments else {}),
        **scores,
        **usage,
        "curve": [round(score, 5) for score in curve],
        "settings": job.settings,
        **_setup(job),
    }
    write_json(job.target, result)


def _evaluate(job: Job, weights: Path) -> tuple[dict[str, float], ImageScores]:
    """Accuracy on the split, and what it is made of."""
    from kd_yolo.yolo.evaluate import validate
    from kd_yolo.yolo.exported import is_exported, open_exported
    from kd_yolo.yolo.files.loading import load_checkpoint
    from kd_yolo.yolo.image_statistics import ImageStatistics

    model = open_exported(weights) if is_exported(weights) else load_checkpoint(weights, trust=job.trust)[0]
    statistics, device = ImageStatistics(), job.arguments.get("device")
    found = validate(
        model, job.data, imgsz=int(job.arguments.get("imgsz") or 640), split=job.split,
        device=None if device is None else str(device), watch=statistics,
    )  # fmt: skip
    scores = {"map": found["metrics/mAP50-95(B)"], "map50": found["metrics/mAP50(B)"]}
    return scores, ImageScores(**statistics.arrays())


def _setup(job: Job) -> dict[str, Any]:
    """Versions and machine."""
    import torch

    from kd_yolo.report.comparison import setup

    facts = setup()
    cores, kind = facts.pop("cores"), facts.pop("machine")
    on_cpu = not torch.cuda.is_available() or str(job.arguments.get("device")) == "cpu"
    device = "CPU" if on_cpu else torch.cuda.get_device_name()
    return {"versions": facts, "machine": f"{kind}, {cores} cores, {device}", "commit": _commit()}


def _commit() -> str | None:
    """The commit of the checkout that runs; None for an installed package."""
    if not is_checkout():
        return None
    words = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
