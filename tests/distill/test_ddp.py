"""Two gloo processes against one: adapters and student stay equal, and gradients are those of the whole batch."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

WORKER = Path(__file__).with_name("ddp_worker.py")
ROOT = WORKER.parents[2]


def launch(out: Path, *arguments: str, processes: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *(run if processes > 1 else []), str(WORKER), str(out), *arguments],
        cwd=out, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, student: str, teacher: str) -> Path:
    folder = tmp_path_factory.mktemp("ddp")
    launch(folder, str(tiny_data), student, teacher, "sum", "sync", processes=2)
    (folder / "one").mkdir()
    launch(folder / "one", str(tiny_data), student, teacher, "sum", processes=1)
    return folder


def read(folder: Path, case: str, rank: int = 0) -> dict[str, Any]:
    return torch.load(folder / f"{case}-{rank}.pt", weights_only=True)  # type: ignore[no-any-return]


def is_terms(name: str) -> bool:
    return name.startswith("kd_adapters.")


def test_adapters_and_student_stay_equal_across_processes(out: Path) -> None:
    first, second = read(out, "sync", 0), read(out, "sync", 1)
    assert first["wrapped"] == second["wrapped"] == "DistributedDataParallel"
    assert any(is_terms(name) for name in first["names"])
    different = [n for n in first["names"] if not torch.equal(first["state"][n], second["state"][n])]
    assert different == []
    assert second["skipped"] == {"kd_cwd": 1, "kd_bkd": 0}  # one process skipped a term in one step, the other did not
    assert first["skipped"] == {"kd_cwd": 0, "kd_bkd": 0}


def test_both_processes_step_with_the_same_gradients(out: Path) -> None:
    first, second = read(out, "sync", 0), read(out, "sync", 1)
    assert len(first["gradients"]) == len(second["gradients"]) == 6
    for ours, theirs in zip(first["gradients"], second["gradients"], strict=True):
        for name, a, b in zip(first["names"], ours, theirs, strict=True):
            assert (a is None) == (b is None), name
            assert a is None or torch.equal(a, b), name
    learnt = [
        g for n, g in zip(first["names"], first["gradients"][0], strict=True) if is_terms(n) and n.endswith("weight")
    ]
    assert len(learnt) == 3
    assert all(float(g.abs().sum()) > 0 for g in learnt)


def test_unlabelled_pictures_join_in_both_processes(
    tmp_path: Path, tiny_data: Path, student: str, teacher: str
) -> None:
    launch(tmp_path, str(tiny_data), student, teacher, "unlabelled", processes=2)
    first, second = read(tmp_path, "unlabelled", 0), read(tmp_path, "unlabelled", 1)
    assert all(torch.equal(first["state"][name], second["state"][name]) for name in first["names"])
    assert first["skipped"] == second["skipped"]
    assert {name.removesuffix("_unlabelled") for name in first["skipped"]} == {"kd_cwd", "kd_bkd"}
    with (tmp_path / "unlabelled" / "results.csv").open() as file:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == 2
    for row in rows:
        assert row["train/kd_bkd_unlabelled"] > 0
        assert row["train/kd_cwd_unlabelled"] > 0


def test_two_halves_have_the_gradient_of_the_whole_batch(out: Path) -> None:
    two, one = read(out, "sum"), read(out / "one", "sum")
    assert one["wrapped"] == "DetectionModel"
    assert two["names"] == one["names"]
    assert len(two["gradients"]) == len(one["gradients"]) == 1
    compared = 0
    for name, a, b in zip(one["names"], two["gradients"][0], one["gradients"][0], strict=True):
        if b is not None:
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max())), name
            compared += is_terms(name) or name == "model.0.conv.weight"
    assert compared == 7


@pytest.mark.slow
def test_a_compiled_run_whose_distillation_stops(tmp_path: Path, tiny_data: Path, student: str, teacher: str) -> None:
    """With compile=True upstream wraps with a static graph, in which every parameter needs a gradient in every step."""
    launch(tmp_path, str(tiny_data), student, teacher, "compile", processes=2)
    first, second = read(tmp_path, "compile", 0), read(tmp_path, "compile", 1)
    assert len(first["gradients"]) == 4
    assert all(torch.equal(first["state"][n], second["state"][n]) for n in first["names"])
    for step, is_on in ((0, True), (3, False)):
        pairs = zip(first["names"], first["gradients"][step], strict=True)
        assert any(is_terms(name) and gradient.any() for name, gradient in pairs if gradient is not None) is is_on
