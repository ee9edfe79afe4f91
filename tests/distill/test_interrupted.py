"""What an interruption leaves: a whole last.pt to resume from, no half files, no hooks; on full disks and on Ctrl-C."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base import files as atomic
from kd_yolo.base.errors import KDYoloError
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict

Train = Callable[..., Any]


def fill_disk(monkeypatch: pytest.MonkeyPatch, trainer_epoch: int, number: int = errno.ENOSPC) -> dict[str, Any]:
    """From the given epoch on, no file of a checkpoint can be written."""
    state = {"full": False}
    write, opened = Path.write_bytes, Path.open

    def write_bytes(self: Path, data: Any) -> int:
        if state["full"] and self.suffix == ".pt":
            raise OSError(number, "No space left on device", str(self))
        return write(self, data)

    def open_(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if state["full"] and self.suffix == ".part":
            raise OSError(number, "No space left on device", str(self))
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(Path, "open", open_)

    def begin(trainer: Any) -> None:
        state["full"] = trainer.epoch >= trainer_epoch

    return {"on_train_epoch_start": begin}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def test_full_disk_keeps_the_previous_checkpoint(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = tmp_path / "run" / "weights" / "last.pt"
    kept: dict[str, Any] = {}
    on = fill_disk(monkeypatch, 1) | {"on_model_save": lambda _t: kept.update(weights(last))}
    with pytest.raises(KDYoloError) as caught:
        train(epochs=3, on=on, finish=False, save=True)
    text = str(caught.value)
    assert "the checkpoint of epoch 2 could not be written" in text
    assert "No space left on device" in text
    assert f"--resume {last}" in text
    assert [f.name for f in sorted(last.parent.iterdir())] == ["best.pt", "last.pt"]
    assert load_checkpoint_dict(last)["epoch"] == 0
    assert all(torch.equal(kept[k], v) for k, v in weights(last).items())
    monkeypatch.undo()
    train(model=str(last), resume=str(last), finish=False, save=True)
    assert load_checkpoint_dict(last)["epoch"] == -1  # finished


def test_disk_that_fills_while_our_own_state_is_added(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def arm(_trainer: Any) -> None:  # data.yaml and run.json are there by then
        monkeypatch.setattr(atomic.os, "fsync", full)

    with pytest.raises(KDYoloError, match=r"the checkpoint of epoch 1 could not be written.*choose another folder"):
        train(epochs=1, on={"on_train_start": arm}, finish=False, save=True)
    assert list((tmp_path / "run" / "weights").iterdir()) == []


def test_unwritable_folder(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = fill_disk(monkeypatch, 0, errno.EACCES)
    with pytest.raises(KDYoloError, match="could not be written") as caught:
        train(epochs=1, on=on, finish=False, save=True)
    assert isinstance(caught.value.__cause__, PermissionError)


def test_a_file_where_the_run_folder_should_be(train: Train, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(OSError, match="run"):
        train(epochs=1)
    assert (tmp_path / "run").read_text() == "in the way"


@pytest.mark.parametrize("where", ["forward", pytest.param("backward", marks=pytest.mark.slow)])
def test_ctrl_c_in_mid_epoch(train: Train, tmp_path: Path, where: str) -> None:
    seen: dict[str, Any] = {}

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def arm(trainer: Any) -> None:
        seen["trainer"] = trainer
        if trainer.epoch == 1:
            block = trainer.model.model[5]
            seen["handle"] = (
                block.register_forward_hook(interrupt)
                if where == "forward"
                else block.register_full_backward_hook(interrupt)
            )

    with pytest.raises(KeyboardInterrupt):
        train(epochs=3, loss="cwd", taps=[2, 3, 4], on={"on_train_epoch_start": arm}, finish=False, save=True)
    seen["handle"].remove()
    trainer = seen["trainer"]
    for model in (trainer.model, trainer.criterion.teachers[0].model):
        assert not any(module._forward_hooks for module in model.modules())
    assert trainer.criterion._pending == []
    last = tmp_path / "run" / "weights" / "last.pt"
    assert load_checkpoint_dict(last)["epoch"] == 0
    resumed = train(model=str(last), resume=str(last), finish=False, save=True)
    assert resumed.epoch == 2
    assert len((tmp_path / "run" / "results.csv").read_text().splitlines()) == 4


def test_ctrl_c_while_a_checkpoint_is_written(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, calls = atomic.os.fsync, []

    def third_time(descriptor: int) -> None:  # after last.pt and balance.csv of the first epoch
        calls.append(descriptor)
        if len(calls) == 3:
            raise KeyboardInterrupt
        fsync(descriptor)

    def arm(_trainer: Any) -> None:
        monkeypatch.setattr(atomic.os, "fsync", third_time)

    with pytest.raises(KeyboardInterrupt):
        train(epochs=3, on={"on_train_start": arm}, finish=False, save=True)
    folder = tmp_path / "run" / "weights"
    assert [f.name for f in sorted(folder.iterdir())] == ["best.pt", "last.pt"]
    assert load_checkpoint_dict(folder / "last.pt")["epoch"] == 0
