"""Pruned widths through everything that a training run does; other networks train as upstream trains them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from kd_yolo.base.errors import ConfigError
from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.prune.sparse.trainer import SPARSE_TRAINERS, SparseTrainer
from kd_yolo.training.checkpoint import STATE
from kd_yolo.training.end import finish_checkpoint
from kd_yolo.training.trainers import RETRAINERS, RetrainTrainer, TrainerMixin
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict
from tests.conftest import write_tiny_data
from tests.training.networks import KEEP, Killed, kill_at, same_weights, saved_weights, widths

Train = Callable[..., Any]


def is_narrow(path: Path | str) -> bool:
    return int(saved_weights(path)["model.0.conv.weight"].shape[0]) == KEEP


@pytest.fixture(scope="module")
def run(train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory, pruned: str) -> Any:
    """A finished run of a pruned network on data with its own classes; keeps what last.pt was before the end."""

    def keep(trainer: Any) -> None:
        shutil.copy(trainer.last, trainer.wdir / "unfinished.pt")

    return train_into(tmp_path_factory.mktemp("retrain"))(pruned, save_period=1, on={"on_model_save": keep})


def test_the_widths_survive_training(run: Any, pruned: str) -> None:
    expected = widths(load_checkpoint(pruned)[0])
    for name in ("best.pt", "last.pt", "epoch0.pt", "unfinished.pt"):
        assert widths(load_checkpoint(run.wdir / name)[0]) == expected, name
    start, end = saved_weights(pruned), saved_weights(run.last)
    assert not torch.equal(start["model.0.conv.weight"], end["model.0.conv.weight"])


def test_plain_yolo_opens_and_uses_the_result(run: Any) -> None:
    best = YOLO(str(run.best))
    assert best.names == {0: "c0", 1: "c1"}
    assert best.model.model[0].conv.out_channels == KEEP
    assert best.predict(torch.rand(1, 3, 64, 64), verbose=False)[0].boxes is not None


def test_a_finished_checkpoint_is_plain(run: Any) -> None:
    for name in ("best.pt", "last.pt"):
        ckpt = load_checkpoint_dict(run.wdir / name)
        assert ckpt["optimizer"] is None
        assert "kd" not in ckpt["train_args"]
        assert "kd" not in dict(ckpt["model"].args)
        assert ckpt[STATE] == {"config": {}, "kind": "retraining"}


def test_a_run_that_was_cut_off_at_its_very_end(run: Any, tmp_path: Path) -> None:
    file = Path(shutil.copy(run.wdir / "unfinished.pt", tmp_path / "last.pt"))
    assert load_checkpoint_dict(file)["optimizer"] is not None
    finish_checkpoint(file)
    assert same_weights(saved_weights(file), saved_weights(run.last))
    ckpt, expected = load_checkpoint_dict(file), load_checkpoint_dict(run.last)
    assert {**ckpt, "model": 0, "date": 0} == {**expected, "model": 0, "date": 0}
    content = file.read_bytes()
    finish_checkpoint(file)
    finish_checkpoint(tmp_path / "missing.pt")
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def test_a_network_that_is_not_pruned_trains_as_upstream_trains_it(
    train: Train, plain: Train, rows: Any, stock: str, tmp_path: Path
) -> None:
    arguments = dict(optimizer="AdamW", lr0=1e-3, nbs=8, warmup_epochs=1, freeze=3, close_mosaic=1)
    train(stock, name="ours", **arguments)
    plain(stock, name="theirs", **arguments)
    assert rows(tmp_path / "ours") == rows(tmp_path / "theirs")
    ours, theirs = (saved_weights(tmp_path / name / "weights" / "last.pt") for name in ("ours", "theirs"))
    assert same_weights(ours, theirs)


def test_a_resumed_run_equals_the_undisturbed_one(train: Train, rows: Any, pruned: str, tmp_path: Path) -> None:
    """With an accumulation that runs across the epoch where it was cut, in warm-up, mosaic closing at the resume."""
    arguments = dict(optimizer="AdamW", lr0=1e-3, batch=2, nbs=6, epochs=3, warmup_epochs=2, close_mosaic=1)
    arguments |= dict(finish=False, save=True)
    train(pruned, name="whole", **arguments)
    with pytest.raises(Killed):
        train(pruned, name="cut", on=kill_at(epoch=2, batch=0), **arguments)
    last = tmp_path / "cut" / "weights" / "last.pt"
    assert is_narrow(last)
    train(str(last), resume=str(last), finish=False, save=True)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert same_weights(saved_weights(last), saved_weights(tmp_path / "whole" / "weights" / "last.pt"))


@pytest.mark.parametrize("kind", [RetrainTrainer, DistillationTrainer, SparseTrainer])
def test_a_run_of_another_kind_is_not_resumed(run: Any, tmp_path: Path, kind: Any) -> None:
    file = run.wdir / "unfinished.pt"
    if kind is RetrainTrainer:  # then ultralytics' own
        ckpt = load_checkpoint_dict(file)
        del ckpt["train_args"]["kd"]
        file = tmp_path / "last.pt"
        torch.save(ckpt, file)
    with pytest.raises(ConfigError, match=f"is not an unfinished {kind.kind} run"):
        kind(overrides={"model": str(file), "resume": str(file)})


def test_widths_survive_out_of_memory(train: Train, pruned: str) -> None:
    calls: list[int] = []

    def fail_once(_module: Any, inputs: Any) -> None:
        calls.append(len(inputs[0]))
        if len(calls) == 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    start = {"on_train_start": lambda trainer: trainer.model.model[4].register_forward_pre_hook(fail_once)}
    trainer = train(pruned, on=start, epochs=1, finish=False, save=True)
    assert calls[:3] == [4, 4, 2]
    assert is_narrow(trainer.best)


def test_widths_survive_nan(train: Train, pruned: str, logged: list[str]) -> None:
    poisoned: list[int] = []

    def poison(trainer: Any) -> None:
        if trainer.epoch == 1 and not poisoned:
            poisoned.append(1)
            with torch.no_grad():
                trainer.model.model[0].conv.weight.fill_(float("nan"))

    trainer = train(pruned, on={"on_train_batch_start": poison}, finish=False, save=True)
    assert any("recovering from last.pt" in line for line in logged)
    assert is_narrow(trainer.last)
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_other_classes(train: Train, pruned: str, tmp_path: Path, logged: list[str]) -> None:
    data = write_tiny_data(tmp_path / "three", classes=3, images=4)
    trainer = train(pruned, data=str(data), epochs=1, finish=False, save=True)
    assert any("the data has 3 classes, the network 2" in line for line in logged)
    best = YOLO(str(trainer.best))
    assert is_narrow(trainer.best)
    assert best.names == {0: "c0", 1: "c1", 2: "c2"}
    assert best.model.model[-1].nc == best.model.yaml["nc"] == 3


def test_there_is_a_trainer_for_each_task() -> None:
    assert list(RETRAINERS) == list(SPARSE_TRAINERS) == ["detect", "segment", "pose", "obb", "classify", "rtdetr"]
    assert all(issubclass(kind, TrainerMixin) for kind in (*RETRAINERS.values(), *SPARSE_TRAINERS.values()))


def test_a_pruned_student_under_a_teacher(train: Train, pruned: str, stock: str, tmp_path: Path) -> None:
    light = dict(trainer=DistillationTrainer, finish=False, save=True)
    with pytest.raises(Killed):
        train(pruned, on=kill_at(1, 0), teacher=stock, loss="cwd+bkd", **light)
    last = tmp_path / "run" / "weights" / "last.pt"
    assert is_narrow(last)
    trainer = train(str(last), resume=str(last), **light)
    assert trainer.epoch == 1
    assert is_narrow(trainer.best)


def test_frozen_layers(train: Train, pruned: str) -> None:
    start = saved_weights(pruned)
    trainer = train(pruned, freeze=3, epochs=1, finish=False)
    end = trainer.model.state_dict()
    moved = {int(k.split(".")[1]) for k in end if not torch.equal(end[k].float(), start[k].float())}
    assert min(moved) == 3


@pytest.mark.slow
def test_a_compiled_run(train: Train, pruned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **_: compile_(model, backend="eager"))
    assert is_narrow(train(pruned, compile=True, epochs=1, finish=False, save=True).best)
