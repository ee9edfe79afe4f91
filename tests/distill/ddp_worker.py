"""Trainings of two gloo processes on CPU; started by test_ddp.py with torch.distributed.run, or alone as one process.

Upstream knows DDP on accelerators only: here the process group is gloo and the wrapper gets no device ids. Each process
writes what it saw to ``<out>/<case>-<rank>.pt``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from ultralytics.utils import RANK

from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.losses.cwd import ChannelWiseLoss

torch.set_num_threads(1)
STILL = dict(mosaic=0, hsv_h=0, hsv_s=0, hsv_v=0, scale=0, translate=0, fliplr=0)


class CpuTrainer(DistillationTrainer):
    def _setup_ddp(self) -> None:
        if not dist.is_initialized():
            dist.init_process_group("gloo")

    def final_eval(self) -> None:
        """Upstream's takes the current accelerator."""


def without_device_ids(module: nn.Module, *, device_ids: Any = None, **options: Any) -> nn.Module:
    return DistributedDataParallel(module, **options)


DistributedDataParallel = nn.parallel.DistributedDataParallel
nn.parallel.DistributedDataParallel = without_device_ids  # type: ignore[assignment, misc]


def watch_gradients(record: dict[str, Any]) -> Callable[[], None]:
    """Keeps the gradients that each optimizer step sees; returns what ends the watch."""
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters: Any, **options: Any) -> Any:
        parameters = list(parameters)
        record["gradients"].append([None if p.grad is None else p.grad.clone() for p in parameters])
        return clip(parameters, **options)

    torch.nn.utils.clip_grad_norm_ = spy
    return lambda: setattr(torch.nn.utils, "clip_grad_norm_", clip)


def train(out: Path, case: str, on: dict[str, Any], **arguments: Any) -> None:
    record: dict[str, Any] = {"gradients": []}
    overrides = dict(
        data=sys.argv[2], model=sys.argv[3], teacher=sys.argv[4], loss="cwd", epochs=2, imgsz=64, batch=8, device="cpu",
        workers=0, plots=False, verbose=False, optimizer="SGD", lr0=0.01, nbs=8, warmup_epochs=0, project=str(out),
        name=case, exist_ok=True,
    )  # fmt: skip
    trainer = CpuTrainer(overrides={**overrides, **arguments})
    trainer.world_size = 0 if RANK == -1 else 2
    for event, callback in on.items():
        trainer.add_callback(event, callback)
    end = watch_gradients(record)
    try:
        trainer.train()
    finally:
        end()
    model = trainer.criterion.model
    record["state"] = {k: v.clone() for k, v in model.state_dict().items()}
    record["names"] = [name for name, _ in model.named_parameters()]
    record["skipped"] = dict(trainer.criterion.skipped)
    record["wrapped"] = type(trainer.model).__name__
    torch.save(record, out / f"{case}-{max(RANK, 0)}.pt")


def only_distillation(trainer: Any) -> None:
    base = trainer.criterion.model.init_criterion()
    trainer.criterion.base = lambda preds, batch: (base(preds, batch)[0].detach(), base(preds, batch)[1])


def fixed_norms(trainer: Any) -> None:
    for module in trainer.criterion.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def skip_one_batch_on_one_rank() -> None:
    compute, calls = ChannelWiseLoss.compute, []

    def sometimes(self: Any, *maps: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        value = compute(self, *maps)
        return value * float("nan") if RANK == 1 and len(calls) == 4 else value  # first level of the second batch

    ChannelWiseLoss.compute = sometimes  # type: ignore[method-assign, assignment]


def write_pictures(folder: Path) -> None:
    """The process that comes first writes them."""
    if RANK in (-1, 0):
        folder.mkdir()
        for number in range(6):
            noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), noise)
    if RANK != -1:
        dist.init_process_group("gloo")
        dist.barrier()


def main(out: Path, cases: list[str]) -> None:
    if "sum" in cases:
        on = {"on_train_start": only_distillation, "on_train_batch_start": fixed_norms}
        train(out, "sum", on, loss=[{"loss": "cwd", "standardize": False}], epochs=1, schedule="constant", **STILL)
    if "sync" in cases:
        skip_one_batch_on_one_rank()
        train(out, "sync", {}, loss="cwd+bkd", epochs=3, batch=4, nbs=4)
    if "unlabelled" in cases:
        pictures = out / "pictures"
        write_pictures(pictures)
        train(out, "unlabelled", {}, loss="cwd+bkd", batch=4, nbs=4, unlabelled=str(pictures))
    if "compile" in cases:
        compile_ = torch.compile
        torch.compile = lambda model, **_: compile_(model, backend="eager")  # type: ignore[assignment, misc]
        train(out, "compile", {}, loss="cwd+bkd", epochs=2, batch=4, nbs=4, compile=True, stop_at=0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[5:])
