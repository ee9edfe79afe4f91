"""Trainings of two gloo processes on CPU; test_ddp.py starts them, and calls ``train`` itself for one process.

Upstream knows DDP on accelerators only: here the process group is gloo and the wrapper gets no device ids. Each process
writes what it saw to ``<out>/<case>-<rank>.pt``.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn
from ultralytics.utils import RANK

from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.losses.cwd import ChannelWiseLoss
from tests.light import examined_once

STILL = dict(mosaic=0, hsv_h=0, hsv_s=0, hsv_v=0, scale=0, translate=0, fliplr=0)
SWITCHES = dict(
    compile=(False, True), accumulate=(1, 2), unlabelled=(False, True), stops=(False, True),
    measured=("no", "yes", "automatic"),
)  # fmt: skip
COMBINATIONS = {
    "-".join(map(str, values)): dict(zip(SWITCHES, values, strict=True))
    for values in itertools.product(*SWITCHES.values())
}
HARDEST = "True-2-True-True-automatic"


class CpuTrainer(DistillationTrainer):
    def _setup_ddp(self) -> None:
        if not dist.is_initialized():
            dist.init_process_group("gloo")

    def validate(self) -> tuple[dict[str, float], float]:
        """Not what is tested."""
        return {}, 0.0

    def final_eval(self) -> None:
        """Upstream's takes the current accelerator."""


@contextmanager
def on_cpu() -> Iterator[None]:
    """DDP without device ids, and the cheapest compiler."""
    wrapper, compile_ = nn.parallel.DistributedDataParallel, torch.compile
    with ExitStack() as patched:
        for owner, name, new in (
            (
                nn.parallel,
                "DistributedDataParallel",
                lambda module, *, device_ids, **options: wrapper(module, **options),
            ),
            (torch, "compile", lambda model, **_: compile_(model, backend="eager")),
        ):
            patched.enter_context(mock.patch.object(owner, name, new))
        yield


@contextmanager
def watch_gradients(seen: list[Any]) -> Iterator[None]:
    """Keeps the gradients that each optimizer step sees."""
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters: Any, **options: Any) -> Any:
        parameters = list(parameters)
        seen.append([None if p.grad is None else p.grad.clone() for p in parameters])
        return clip(parameters, **options)

    with mock.patch.object(torch.nn.utils, "clip_grad_norm_", spy):
        yield


def train(out: Path, case: str, on: dict[str, Callable[[Any], None]], **arguments: Any) -> None:
    """Trains and writes parameters, buffers and gradients; ``arguments`` has data, model and teacher."""
    record: dict[str, Any] = {"gradients": []}
    overrides = dict(
        loss="cwd", epochs=2, imgsz=64, batch=4, device="cpu", workers=0, plots=False, verbose=False, save=False,
        optimizer="SGD", lr0=0.01, nbs=4, warmup_epochs=0, project=str(out), name=case, exist_ok=True,
    )  # fmt: skip
    torch._dynamo.reset()
    trainer: Any = CpuTrainer(overrides={**overrides, **arguments})
    trainer.world_size = 0 if RANK == -1 else 2
    for event, callback in on.items():
        trainer.add_callback(event, callback)
    with on_cpu(), watch_gradients(record["gradients"]):
        trainer.train()
    model = trainer.criterion.model
    record["state"] = {k: v.clone() for k, v in model.state_dict().items()}
    record["names"] = [name for name, _ in model.named_parameters()]
    record["skipped"] = dict(trainer.criterion.skipped)
    record["wrapped"] = type(trainer.model).__name__
    record["balance"] = [dict(row) for row in trainer.criterion.balance.history]
    torch.save(record, out / f"{case}-{max(RANK, 0)}.pt")


def only_distillation(trainer: Any) -> None:
    base = trainer.criterion.model.init_criterion()
    trainer.criterion.base = lambda preds, batch: (base(preds, batch)[0].detach(), base(preds, batch)[1])


def fixed_norms(trainer: Any) -> None:
    for module in trainer.criterion.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def train_whole_batch(out: Path, case: str, **arguments: Any) -> None:
    """One step on all images, in which the sum over them does not depend on how they are divided."""
    on = {"on_train_start": only_distillation, "on_train_batch_start": fixed_norms}
    loss = [{"loss": "cwd", "standardize": False}]
    train(out, case, on, loss=loss, epochs=1, batch=8, nbs=8, schedule="constant", **STILL, **arguments)


def train_with_a_skip(out: Path, **arguments: Any) -> None:
    """One process skips a term in one step."""
    compute, calls = ChannelWiseLoss.compute, []

    def sometimes(self: Any, *maps: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        value = compute(self, *maps)
        return value * float("nan") if RANK == 1 and len(calls) == 4 else value  # first level of the second batch

    with mock.patch.object(ChannelWiseLoss, "compute", sometimes):
        train(out, "sync", {}, loss="cwd+bkd", epochs=3, **arguments)


def train_combination(out: Path, case: str, *, images: str, **arguments: Any) -> None:
    switches = COMBINATIONS[case]
    arguments |= dict(loss="cwd+bkd", compile=switches["compile"], nbs=4 * switches["accumulate"])
    if switches["unlabelled"]:
        arguments |= dict(unlabelled=images)
    if switches["stops"]:
        arguments |= dict(stop_at=0.5)
    if switches["measured"] == "automatic":
        arguments |= dict(weight="auto:0.3")
    is_measured = switches["measured"] != "no"
    on = {"on_train_epoch_start": lambda trainer: setattr(trainer.criterion, "measure_next", is_measured)}
    train(out, case, on, **arguments)


def main(out: Path, cases: list[str], *, images: str, **arguments: Any) -> None:
    torch.set_num_threads(1)
    for case in cases:
        if case == "sync":
            train_with_a_skip(out, **arguments)
        elif case == "cached":
            kept = dict(teacher_cache=1, teacher_cache_dir=str(out / "cache"), epochs=4, close_mosaic=1)
            train(out, case, {}, loss="bkd+dfl_kl", **{**arguments, **kept})
        elif case.startswith("sum"):
            train_whole_batch(out, case, compile="compiled" in case, **arguments)
        else:
            train_combination(out, case, images=images, **arguments)


if __name__ == "__main__":
    with examined_once():
        main(Path(sys.argv[1]), sys.argv[3:], **json.loads(sys.argv[2]))
