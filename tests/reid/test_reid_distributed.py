"""Two gloo processes give the gradients and the BatchNorm statistics of one process with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
import torch

from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.reid.model.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [
    "backbone=resnet18", "pretrained=none", "height=64", "width=32", "ids=4", "images=3", "device=cpu", "workers=0",
    "warmup=0", "holdout=0.25", "epochs=1", "center_weight=0.01", "optimizer=sgd", "weight_decay=0",
]  # fmt: skip
SCRIPT = """
import sys, torch
from torch import nn
from kd_yolo.reid.train.distributed import average_gradients, gather, join_world, leave_world, synchronise_norms
torch.manual_seed(0)
layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)]
network, crops = nn.Sequential(*layers).double(), torch.rand(8, 3, 8, 8).double()
world = join_world(torch.device("cpu"))
synchronise_norms(network, world)
features = gather(network(crops.chunk(world.size)[world.rank]), world)
loss = torch.cdist(features, features).max() + features.pow(3).mean()
loss.backward()
average_gradients(network.parameters(), world)
if world.is_main:
    state = {key: value for key, value in network.state_dict().items() if "running" in key}
    torch.save([float(loss), [p.grad for p in network.parameters()], state], sys.argv[1])
leave_world(world)
"""


def run(tmp_path: Path, processes: int) -> list[object]:
    """Processes as ``torch.distributed.run`` starts them, the first is this one; the slow test has it do so."""
    out = tmp_path / f"out{processes}.pt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **place}
    first = {**place, "RANK": "0", "LOCAL_RANK": "0"} if processes > 1 else {}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(out)], env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(1, processes)
    ]
    try:
        with mock.patch.object(sys, "argv", ["script", str(out)]), mock.patch.dict(os.environ, first):
            exec(SCRIPT, {})
        assert [worker.wait(timeout=240) for worker in workers] == [0] * (processes - 1)
    finally:
        for worker in workers:
            worker.kill()
    return cast("list[object]", torch.load(out, weights_only=True))


def test_two_processes_equal_one(tmp_path: Path) -> None:
    (one, gradients, state), (two, others, other_state) = run(tmp_path, 1), run(tmp_path, 2)
    assert abs(one - two) < 1e-12  # type: ignore[operator]
    for a, b in zip(gradients, others, strict=True):  # type: ignore[call-overload]
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    for key, value in state.items():  # type: ignore[attr-defined]
        torch.testing.assert_close(value, other_state[key], rtol=1e-9, atol=1e-12)  # type: ignore[index]


@pytest.mark.slow
def test_a_run_of_two_processes_equals_that_of_one(tmp_path: Path) -> None:
    """The whole command, at a low learning rate: the steps of all weights are the same.

    Sums in another order differ in the last digit, and a ReLU or a triplet at its kink makes a few percent of a step of
    it. Without the sums over processes of gradients, or of norms, the steps differ by more than the steps themselves.
    """
    data = make_crops(tmp_path / "crops", "smoke").folder
    words = ["-m", "kd_yolo.cli.app", "reid", "train", "--kd", f"data={data}", *SETTINGS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    found: dict[str, Any] = {}
    for name, start, rate in (("still", [], "1e-12"), ("one", [], "1e-5"), ("two", torchrun, "1e-5")):
        command = [sys.executable, *start, *words, "--name", name, f"lr={rate}"]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True, timeout=600)
        found[name] = load_checkpoint(tmp_path / "runs" / "reid" / name / "weights" / "last.pt").state_dict
    moved = {key: float((value - found["still"][key]).abs().max()) for key, value in found["one"].items()}
    apart = {key: float((value - found["two"][key]).abs().max()) for key, value in found["one"].items()}
    assert moved["backbone.conv1.weight"] > 5e-5
    off = {key: apart[key] for key in moved if key.endswith(".weight") and apart[key] > 0.25 * moved[key] + 2e-7}
    assert not off
    rows = [(tmp_path / "runs" / "reid" / name / "results.csv").read_text().splitlines()[1] for name in ("one", "two")]
    one, two = ([float(x) for x in row.split(",")] for row in rows)
    assert one == pytest.approx(two, rel=1e-4)
