"""Parts of the exact resume by themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_yolo.training import checkpoint
from kd_yolo.training.checkpoint import CheckpointMixin
from kd_yolo.training.exact_resume import capture_random


@pytest.mark.parametrize("workers", [0, 2])
def test_closed_mosaic_reaches_worker_processes(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Workers hold copies of the data set with mosaic open: the reset by which upstream restarts them must stay."""
    monkeypatch.setattr(checkpoint, "exhaust_epoch", lambda _loader: None)
    reset = object()
    loader = SimpleNamespace(num_workers=workers, dataset=None, reset=reset, generator=torch.Generator())
    state = {"mosaic": [], "random": capture_random(loader), "last_step": 0, "gradients": {}}
    trainer: Any = SimpleNamespace(
        train_loader=loader, args=SimpleNamespace(close_mosaic=2), start_epoch=3, epochs=4, _last_step=-1, _carried=None
    )
    CheckpointMixin._restore_flow(trainer, state)
    assert (loader.reset is reset) is (workers > 0)


def test_only_the_first_save_is_opened_as_a_strangers_file(tmp_path: Path) -> None:
    """What nobody could open later ends the run at once; after that the run reads what it wrote itself."""
    opened: list[Path] = []

    def load_own(path: Path) -> Any:
        opened.append(path)
        return torch.load(path, weights_only=True)

    network = torch.nn.Linear(1, 1)
    run: Any = SimpleNamespace(
        _opens=False, load_own=load_own, ema=SimpleNamespace(ema=network), _exact_state=lambda: {"last_step": 3},
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
    )  # fmt: skip
    for epoch, file in enumerate((tmp_path / "1.pt", tmp_path / "2.pt")):
        torch.save({"epoch": epoch, "optimizer": "half"}, file)
        CheckpointMixin._add_state(run, file)
        ckpt = torch.load(file, weights_only=False)
        assert (ckpt["epoch"], ckpt["kd_yolo"]) == (epoch, {"last_step": 3})
        assert ckpt["optimizer"].keys() == {"state", "param_groups"}
    assert opened == [tmp_path / "1.pt"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("epoch,time,a\n1,2,3\n2,2,3\n3,2,3\n", "epoch,time,a\n1,2,3\n2,2,3\n"),  # epoch 3 runs again
        ("epoch,time,a\n1,2,3\n2,2", "epoch,time,a\n1,2,3\n"),
        ("epoch,time,a\n1,2,3\n2,2,3", "epoch,time,a\n1,2,3\n"),  # perhaps 2,2,35
        ("epoch,ti", None),  # upstream writes a header only where there is no file
        ("", None),
    ],
)
def test_a_results_table_that_was_cut_off(tmp_path: Path, before: str, after: str | None) -> None:
    table = tmp_path / "results.csv"
    table.write_text(before)
    run: Any = SimpleNamespace(csv=table, start_epoch=2)
    CheckpointMixin._trim_results(run)
    assert (table.read_text() if table.is_file() else None) == after
    table.unlink(missing_ok=True)
    CheckpointMixin._trim_results(run)
    assert not table.exists()


def test_last_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what tells how far the run got: a run that is killed in between must not look further than it is."""
    run: Any = SimpleNamespace(wdir=tmp_path, last=tmp_path / "last.pt", best=tmp_path / "best.pt")
    order: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: order.append(self.name) or replace(self, target))
    with CheckpointMixin._staged_weights(run) as stage:
        for name in ("best.pt", "last.pt", "sparse.pt", "epoch3.pt"):
            (stage / name).touch()
        assert run.last == stage / "last.pt"
    assert order == ["best.pt", "epoch3.pt", "sparse.pt", "last.pt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(order)
    assert run.last == tmp_path / "last.pt"
