"""What a training step costs on a graphics card, in seconds and memory: a part of ``gpu_league.py``."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_yolo.base.files import write_json


def measure_steps(args: argparse.Namespace, target: Path) -> None:
    """The body of a process of its own: median time of a step and peak memory of each method, one after the other."""
    import step_cost
    import torch

    from kd_yolo.builtin.street_set import make_street
    from kd_yolo.yolo.files.loading import load_checkpoint

    args.work = target.parent
    data = make_street(args.work / "street", "smoke").data_yaml
    for name in ("student", "teacher"):
        for_data(getattr(args, name), data, args.work / f"{name}.pt")
    step_cost.METHODS.update({loss: {"loss": loss} for loss in args.losses})
    found = {}
    for method in ("plain", "shipped", *args.losses):
        trainer = step_cost.make_trainer(method, args)
        batch = next(iter(trainer.train_loader))
        found[method] = measured(lambda trainer=trainer, batch=batch: step(trainer, batch), trainer.device, args.steps)
        found[method]["amp"] = bool(trainer.amp)
        image, device, amp = batch["img"].to(trainer.device).float() / 255, trainer.device, trainer.amp
        del trainer, batch
        gc.collect()
    teacher = load_checkpoint(args.work / "teacher.pt")[0].requires_grad_(False)
    teacher.fuse(verbose=False)
    teacher.to(device)

    def ask() -> None:
        with torch.autocast(device.type, enabled=amp):
            teacher(image)

    found["fused teacher"] = measured(ask, device, args.steps)
    write_json(target, found)


def for_data(weights: str, data: Path, path: Path) -> None:
    """Writes a network with the classes of a set; what a step costs does not depend on its weights."""
    import step_cost

    from kd_yolo.base.places import find_weights
    from kd_yolo.data.spec import read_data_yaml
    from kd_yolo.distill.classes import student_for
    from kd_yolo.yolo.files.loading import load_checkpoint
    from kd_yolo.yolo.files.pruned_file import save_pruned

    spec = read_data_yaml(data)
    if weights.endswith((".yaml", ".yml")):
        step_cost.write_weights(weights, len(spec.names), path)
    else:
        save_pruned(path, student_for(load_checkpoint(find_weights(weights))[0], spec), {}, {})


def step(trainer: Any, batch: dict[str, Any]) -> None:
    """One training step, as ultralytics' loop does it."""
    import torch

    with torch.autocast(trainer.device.type, enabled=trainer.amp):
        loss, _ = trainer.model(trainer.preprocess_batch(dict(batch)))
    trainer.scaler.scale(loss.sum()).backward()
    trainer.optimizer_step()


def measured(job: Callable[[], None], device: Any, steps: int) -> dict[str, Any]:
    """Median seconds of a call, and the most memory of the card that tensors held; None on the CPU."""
    import torch

    is_cuda = device.type == "cuda"
    wait: Callable[[], None] = torch.cuda.synchronize if is_cuda else lambda: None
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    times = []
    for turn in range(steps + 3):
        wait()
        start = time.perf_counter()
        job()
        wait()
        if turn >= 3:  # the first ones warm up
            times.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(times),
        "peak_mib": torch.cuda.max_memory_allocated(device) / 2**20 if is_cuda else None,
    }
