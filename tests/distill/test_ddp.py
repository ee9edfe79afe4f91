"""Two gloo processes against one: adapters and student stay equal, and gradients are those of the whole batch."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.distill.ddp_worker import COMBINATIONS, HARDEST, train_whole_batch

ROOT = Path(__file__).resolve().parents[2]
PER_PROCESS = ("running_mean", "running_var")  # upstream leaves statistics of BatchNorm to each process


# Both share what takes longest to import; ultralytics reads its rank when it is imported.
FORK = """
import os, runpy, sys
import cv2, matplotlib.pyplot, torch._dynamo, torchvision  # not polars: after a fork it hangs at exit
child = os.fork()
rank = "1" if child == 0 else "0"
os.environ.update(RANK=rank, LOCAL_RANK=rank)
runpy.run_module("tests.distill.ddp_worker", run_name="__main__")
if child:
    sys.exit(os.waitpid(child, 0)[1] != 0)
"""


def launch(out: Path, cases: list[str], arguments: dict[str, str]) -> None:
    """Two processes, as ``torch.distributed.run`` would start them, that train the cases one after the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = dict(PYTHONPATH=str(ROOT), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2")
    workers = subprocess.Popen(
        [sys.executable, "-c", FORK, str(out), json.dumps(arguments), *cases], cwd=out, env={**os.environ, **own},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said = workers.communicate(timeout=2000)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(workers.pid, signal.SIGKILL)
    assert workers.returncode == 0, said[-6000:]


@pytest.fixture(scope="module")
def arguments(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_data: Path,
    make_weights: Callable[..., str],
    tiny_yaml: Callable[..., str],
) -> dict[str, str]:
    """What all trainings here take: data, networks, and a folder of unlabelled images."""
    images = tmp_path_factory.mktemp("unlabelled")
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        cv2.imwrite(str(images / f"{number}.png"), noise)
    student, teacher = make_weights(tiny_yaml(8)), make_weights(tiny_yaml(16), seed=1)
    return dict(data=str(tiny_data), model=student, teacher=teacher, images=str(images))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, arguments: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("ddp")
    launch(folder, ["sum", "sum-compiled", "sync", HARDEST], arguments)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, arguments: dict[str, str]) -> dict[str, Any]:
    """One process with the whole batch."""
    folder = tmp_path_factory.mktemp("one")
    train_whole_batch(folder, "sum", **{key: value for key, value in arguments.items() if key != "images"})
    return read(folder, "sum")


@pytest.fixture(scope="module")
def combinations(tmp_path_factory: pytest.TempPathFactory, arguments: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("combinations")
    launch(folder, list(COMBINATIONS), arguments)
    return folder


def read(folder: Path, case: str, rank: int = 0) -> dict[str, Any]:
    return torch.load(folder / f"{case}-{rank}.pt", weights_only=True)  # type: ignore[no-any-return]


def is_terms(name: str) -> bool:
    return name.startswith("kd_adapters.")


def assert_equal_ranks(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first["wrapped"] == second["wrapped"] == "DistributedDataParallel"
    assert sum(map(is_terms, first["names"])) == 6
    shared = [name for name in first["state"] if not name.endswith(PER_PROCESS)]
    assert [n for n in shared if not torch.equal(first["state"][n], second["state"][n])] == []
    assert len(first["gradients"]) == len(second["gradients"]) > 0
    for ours, theirs in zip(first["gradients"], second["gradients"], strict=True):
        for name, a, b in zip(first["names"], ours, theirs, strict=True):
            assert (a is None) == (b is None), name
            assert a is None or torch.equal(a, b), name


def assert_as_asked(first: dict[str, Any], *, accumulate: int, stops: bool, measured: str, **_: Any) -> None:
    """The switches did something: otherwise equal ranks prove nothing."""
    assert len(first["gradients"]) == 4 // accumulate
    moved = [
        any(bool(g.any()) for n, g in zip(first["names"], step, strict=True) if is_terms(n) and g is not None)
        for step in first["gradients"]
    ]
    assert moved[0]
    assert moved[-1] is not stops
    assert (first["balance"][0]["gradient_share"] > 0) is (measured != "no")
    assert ("weight/kd_cwd" in first["balance"][0]) is (measured == "automatic")


def test_adapters_and_student_stay_equal_across_processes(out: Path) -> None:
    first, second = read(out, "sync", 0), read(out, "sync", 1)
    assert_equal_ranks(first, second)
    assert second["skipped"] == {"kd_cwd": 1, "kd_bkd": 0}  # one process skipped a term in one step, the other did not
    assert first["skipped"] == {"kd_cwd": 0, "kd_bkd": 0}
    assert len(first["gradients"]) == 6
    learnt = [
        g for n, g in zip(first["names"], first["gradients"][0], strict=True) if is_terms(n) and n.endswith("weight")
    ]
    assert len(learnt) == 3
    assert all(float(g.abs().sum()) > 0 for g in learnt)


def test_a_compiled_run_with_everything_at_once(out: Path) -> None:
    """With compile=True upstream wraps with a static graph, in which every parameter needs a gradient in every step."""
    first, second = read(out, HARDEST, 0), read(out, HARDEST, 1)
    assert_equal_ranks(first, second)
    assert_as_asked(first, **COMBINATIONS[HARDEST])


def test_unlabelled_images_join_in_both_processes(out: Path) -> None:
    first, second = read(out, HARDEST, 0), read(out, HARDEST, 1)
    assert first["skipped"] == second["skipped"]
    assert {name.removesuffix("_unlabelled") for name in first["skipped"]} == {"kd_cwd", "kd_bkd"}
    with (out / HARDEST / "results.csv").open() as file:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == 2
    assert rows[0]["train/kd_bkd_unlabelled"] > 0
    assert rows[0]["train/kd_cwd_unlabelled"] > 0


@pytest.mark.parametrize("case", ["sum", "sum-compiled"])
def test_two_halves_have_the_gradient_of_the_whole_batch(out: Path, whole: dict[str, Any], case: str) -> None:
    two = read(out, case)
    assert whole["wrapped"] == "DetectionModel"
    assert two["names"] == whole["names"]
    assert len(two["gradients"]) == len(whole["gradients"]) == 1
    compared = 0
    for name, a, b in zip(whole["names"], two["gradients"][0], whole["gradients"][0], strict=True):
        if b is not None:
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max())), name
            compared += is_terms(name) or name == "model.0.conv.weight"
    assert compared == 7


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("case", COMBINATIONS)
def test_every_combination_leaves_equal_ranks(combinations: Path, case: str) -> None:
    first, second = read(combinations, case, 0), read(combinations, case, 1)
    assert_equal_ranks(first, second)
    assert_as_asked(first, **COMBINATIONS[case])


@pytest.mark.slow
def test_two_processes_share_what_the_teacher_said(tmp_path: Path, arguments: dict[str, str]) -> None:
    """Each writes shards of its own and reads the other's; after a first run none runs the teacher again."""
    for _ in range(2):
        launch(tmp_path, ["cached"], arguments)
        first, second = read(tmp_path, "cached", 0), read(tmp_path, "cached", 1)
        shared = [name for name in first["state"] if not name.endswith(PER_PROCESS)]
        assert [n for n in shared if not torch.equal(first["state"][n], second["state"][n])] == []
        shards = sorted(path.name for path in (tmp_path / "cache").glob("shard-*"))
        assert len({name.rpartition("-")[2] for name in shards}) == 2  # processes
    views = np.concatenate([np.load(tmp_path / "cache" / name / "views.npy") for name in shards])
    assert set(views.tolist()) == set(range(16))
