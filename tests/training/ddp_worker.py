"""Trainings of a pruned network by two gloo processes on CPU; started by test_ddp.py with torch.distributed.run.

Upstream knows DDP on accelerators only: here the process group is gloo and the wrapper gets no device ids. Each process
writes what it has at the end to ``<out>/<kind>-<rank>.pt``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from kd_yolo.prune.sparse.trainer import SparseTrainer
from kd_yolo.training.trainers import RetrainTrainer

torch.set_num_threads(1)
DistributedDataParallel = nn.parallel.DistributedDataParallel


class OnCpu:
    def _setup_ddp(self) -> None:
        if not dist.is_initialized():
            dist.init_process_group("gloo")

    def final_eval(self) -> None:
        """Upstream's takes the current accelerator."""


class CpuSparse(OnCpu, SparseTrainer):
    pass


class CpuRetrain(OnCpu, RetrainTrainer):
    pass


RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sparse": (CpuSparse, dict(sparsity=0.5)),
    "sparse-compiled": (CpuSparse, dict(sparsity=0.5, compile=True, nbs=8)),
    "retrain-compiled": (CpuRetrain, dict(compile=True)),
}


def without_device_ids(module: nn.Module, *, device_ids: Any = None, **options: Any) -> nn.Module:
    return DistributedDataParallel(module, **options)


def train(out: Path, kind: str, data: str, weights: str) -> None:
    trainer_class, own = RUNS[kind]
    overrides = dict(
        data=data, model=weights, epochs=2, imgsz=64, batch=4, nbs=4, device="cpu", workers=0, plots=False,
        verbose=False, optimizer="SGD", lr0=0.01, warmup_epochs=0, project=str(out), name=kind, exist_ok=True,
    )  # fmt: skip
    torch._dynamo.reset()
    trainer: Any = trainer_class(overrides={**overrides, **own})
    trainer.world_size = 2
    trainer.train()
    state = {key: value.clone() for key, value in unwrap_model(trainer.model).state_dict().items()}
    torch.save({"wrapped": type(trainer.model).__name__, "state": state}, out / f"{kind}-{RANK}.pt")


def main(out: Path, data: str, weights: str) -> None:
    compile_ = torch.compile
    torch.compile = lambda model, **_: compile_(model, backend="eager")  # type: ignore[assignment, misc]
    nn.parallel.DistributedDataParallel = without_device_ids  # type: ignore[assignment, misc]
    for kind in RUNS:
        train(out, kind, data, weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
