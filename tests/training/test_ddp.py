"""More than one process: what upstream hands to its workers, and what the workers have at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics.utils.dist as dist
from ultralytics.utils import DEFAULT_CFG_DICT
from ultralytics.utils.patches import torch_load

from kd_yolo.prune.sparse.trainer import SPARSE_FILE, SparseTrainer
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import is_pruned
from tests.training.networks import KEEP, same_weights, saved_weights

WORKER = Path(__file__).with_name("ddp_worker.py")
ROOT = WORKER.parents[2]


def test_workers_get_the_pruned_network_and_our_settings(
    pruned: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "USER_CONFIG_DIR", tmp_path)
    overrides = dict(model=pruned, data=str(tiny_data), device="cpu", imgsz=64, project=str(tmp_path), name="run")
    parent: Any = SparseTrainer(overrides={**overrides, "sparsity": 0.3})
    parent.world_size = 2
    parent.model = parent.get_model(weights=load_checkpoint(pruned)[0])
    _, file = dist.generate_ddp_command(parent)
    assert not parent.save_dir.exists()  # upstream clears it, our copy of the data YAML included
    state = torch_load(Path(file).with_suffix(".pt"), map_location="cpu")
    assert state["trainer"] is SparseTrainer
    worker = state["trainer"](
        cfg={**DEFAULT_CFG_DICT, "save_dir": ""}, overrides=state["args"], _callbacks=state["callbacks"]
    )
    worker.model = state["model"]
    assert worker.setup_model() is None
    assert is_pruned(worker.model)
    assert worker.sparse.sparsity == 0.3
    assert Path(worker.data["train"]).is_dir()


def test_the_parent_of_workers_hands_on_their_sparse_weights(
    stock: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "USER_CONFIG_DIR", tmp_path)
    overrides = dict(model=stock, data=str(tiny_data), device="cpu", imgsz=64, project=str(tmp_path), name="run")
    parent: Any = SparseTrainer(overrides=overrides)
    parent.world_size, parent.ddp = 2, True

    def run_workers(*_args: Any, **_kwargs: Any) -> None:
        parent.wdir.mkdir(parents=True)
        (parent.wdir / SPARSE_FILE).touch()

    monkeypatch.setattr(subprocess, "run", run_workers)
    parent.train()
    assert parent.best == tmp_path / "run" / "weights" / SPARSE_FILE


@pytest.fixture(scope="module")
def out(pruned: str, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have after each of the worker's runs."""
    folder = tmp_path_factory.mktemp("ddp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *run, str(WORKER), str(folder), str(tiny_data), pruned],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder


def states(out: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    first, second = (torch.load(out / f"{kind}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["wrapped"] == second["wrapped"] == "DistributedDataParallel"
    return first["state"], second["state"]


def parameters(state: dict[str, torch.Tensor]) -> list[str]:
    """Names of all but the statistics of BatchNorm, which upstream leaves to each process."""
    return [key for key in state if "running" not in key and "tracked" not in key]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "sparse-compiled", "retrain-compiled"])
def test_two_processes_end_with_equal_weights(out: Path, pruned: str, kind: str) -> None:
    first, second = states(out, kind)
    assert [key for key in parameters(first) if not torch.equal(first[key], second[key])] == []
    assert len(first["model.0.conv.weight"]) == KEEP
    assert not same_weights(saved_weights(pruned), first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "sparse-compiled"])
def test_two_processes_make_zeros(out: Path, kind: str) -> None:
    first, _ = states(out, kind)
    sparse = load_checkpoint(out / kind / "weights" / SPARSE_FILE)[0].state_dict()
    zeros = {key: (first[key] == 0).float().mean() for key in parameters(first) if key.endswith("cv2.bn.weight")}
    assert all(share == pytest.approx(0.5) for share in zeros.values())
    assert not same_weights(sparse, first)
    assert all(bool(((sparse[key] == 0) >= (first[key] == 0)).all()) for key in zeros)
