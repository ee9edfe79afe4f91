"""What a resumed run takes from its checkpoint, what from the user, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.distill.trainer import DistillationTrainer
from kd_yolo.training.checkpoint import STATE

Train = Callable[..., Any]


def keep_second_epoch(trainer: Any) -> None:
    """A copy of last.pt as it stood after the first epoch of two, in the file kept.pt."""
    if trainer.epoch == 1:
        shutil.copy(trainer.last, trainer.wdir / "kept.pt")


def resumed(path: Any, **overrides: Any) -> Any:
    return DistillationTrainer(overrides={"model": str(path), "resume": str(path), **overrides})


def saved(ckpt: dict[str, Any], folder: Path, run: Any = None) -> Path:
    """The checkpoint in a run folder of its own, with the data YAML of ``run``."""
    last = folder / "weights" / "last.pt"
    last.parent.mkdir()
    torch.save(ckpt, last)
    if run is not None:
        shutil.copy(run.save_dir / "data.yaml", folder)
    return last


@pytest.fixture(scope="module")
def trusting(train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory) -> Any:
    train = train_into(tmp_path_factory.mktemp("trusting"))
    return train(loss="mgd", tau=None, trust_weights=True, on={"on_train_epoch_end": keep_second_epoch})


def test_a_checkpoint_cannot_vouch_for_itself(trusting: Any) -> None:
    """Trust is the user's: a resumed run forgets it, while a worker of this very run is told by its parent."""
    kept = trusting.wdir / "kept.pt"
    assert trusting.kd_config.trust_weights
    ours = resumed(kept)
    assert ours.kd_config.trust_weights is False
    assert ours.kd_config.terms == trusting.kd_config.terms
    again = resumed(kept, trust_weights=True)
    assert again.kd_config.trust_weights is True
    assert resumed(kept, kd=again.args.kd).kd_config.trust_weights is True


def test_the_teacher_may_have_moved(trusting: Any, teacher: str, tmp_path: Path) -> None:
    moved = shutil.copy(teacher, tmp_path / "moved.pt")
    assert resumed(trusting.wdir / "kept.pt", teacher=str(moved)).kd_config.teacher == str(moved)


@pytest.mark.parametrize("flags", [{"loss": "cwd"}, {"weight": 2}, {"schedule": "linear"}, {"taps": "cv2", "tau": 2}])
def test_other_settings_may_not_change(trusting: Any, flags: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"a resumed run keeps its {', '.join(sorted(flags))}"):
        resumed(trusting.wdir / "kept.pt", **flags)


@pytest.mark.parametrize("kd", ["x", {}, {"config": None}, {"config": {"teacher": "t", "terms": [{"loss": "nope"}]}}])
def test_settings_that_are_broken(trusting: Any, tmp_path: Path, kd: Any) -> None:
    ckpt = torch.load(trusting.wdir / "kept.pt", weights_only=False)
    ckpt["train_args"]["kd"] = kd
    with pytest.raises(ConfigError):
        resumed(saved(ckpt, tmp_path, trusting))


def test_a_run_without_distillation(train: Train, tmp_path: Path, teacher: str) -> None:
    train(plain=True, on={"on_train_epoch_end": keep_second_epoch})
    with pytest.raises(ConfigError, match="is not an unfinished distillation run"):
        resumed(tmp_path / "run" / "weights" / "kept.pt", teacher=teacher)


def test_a_finished_run(trusting: Any) -> None:
    with pytest.raises(ConfigError, match="is not an unfinished distillation run"):
        resumed(trusting.last)


def test_a_teacher_that_is_gone(trusting: Any, train: Train, tmp_path: Path) -> None:
    ckpt = torch.load(trusting.wdir / "kept.pt", weights_only=False)
    ckpt["train_args"]["kd"]["config"]["teacher"] = str(tmp_path / "gone.pt")
    last = str(saved(ckpt, tmp_path, trusting))
    with pytest.raises(InputError, match=r"gone\.pt"):
        train(model=last, resume=last)


def test_a_checkpoint_without_our_state_starts_adapters_from_scratch(
    trusting: Any, train: Train, tmp_path: Path, logged: list[str]
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(trusting.save_dir, run)
    ckpt = torch.load(run / "weights" / "kept.pt", weights_only=False)
    del ckpt[STATE]
    torch.save(ckpt, run / "weights" / "last.pt")
    trainer = train(model=str(run / "weights" / "last.pt"), resume=str(run / "weights" / "last.pt"))
    assert trainer.epoch == 1
    assert any("has no exact state: adapters and random states start again" in line for line in logged)
