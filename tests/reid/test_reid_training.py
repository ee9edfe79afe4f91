"""Training of ReID networks: it learns, resumes exactly, starts from pruned networks, and distils."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.base.errors import InputError, KDYoloError
from kd_yolo.base.files import write_json
from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.reid.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.prune import prune
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.reid.train import run as running
from kd_yolo.reid.train.engine import Trainer

SMALL: dict[str, Any] = {
    "backbone": "tiny_resnet", "pretrained": "none", "height": 64, "width": 32, "ids": 3, "images": 3, "device": "cpu",
    "workers": 0, "warmup": 1, "holdout": 0.25, "epochs": 3, "lr": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_crops(tmp_path_factory.mktemp("crops") / "smoke", "smoke").folder)


@pytest.fixture(scope="module")
def trained(crops: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three epochs with all that has a state: centres, self-distillation, a margin head."""
    return running.train(settings(crops, **WITH_STATE), tmp_path_factory.mktemp("runs") / "whole", silent)


WITH_STATE: dict[str, Any] = {"self_kd.enabled": True, "center_weight": 0.01, "head": "arcface", "optimizer": "adamw"}


def settings(crops: str, **changes: Any) -> ReIDConfig:
    return resolve_reid(None, {**SMALL, "data": crops, **changes})


def silent(_: str) -> None:
    pass


def rows(folder: Path) -> list[str]:
    return (folder / "results.csv").read_text().splitlines()


def test_a_run_leaves_what_users_expect(trained: Path) -> None:
    folder = trained.parents[1]
    assert {path.name for path in folder.iterdir()} == {
        "args.yaml", "run.json", "results.csv", "results.png", "metrics.json", "weights",
    }  # fmt: skip
    assert len(rows(folder)) == 4
    assert {"epoch", "accuracy", "lr", "train/id", "train/triplet", "train/self_kd", "val/mAP"} <= set(
        rows(folder)[0].split(",")
    )
    metrics = json.loads((folder / "metrics.json").read_text())["held out"]
    assert 0 <= metrics["mAP"] <= 1
    assert len(json.loads((folder / "run.json").read_text())["data_sha256"]) == 64
    model = ReIDModel.load(trained)
    assert not any("self_kd" in key or "heads" in key for key in model.state_dict())
    assert len(load_checkpoint(trained).identities) == 6


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    crops: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of the second epoch; then weights and losses equal those of the whole run."""
    step, calls = Trainer._step, []

    def interrupted(self: Trainer, *batch: Any) -> Any:
        calls.append(self.epoch)
        if calls.count(1) == 2:
            raise KeyboardInterrupt
        return step(self, *batch)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.train(settings(crops, **WITH_STATE), tmp_path / "part", silent)
    monkeypatch.setattr(Trainer, "_step", step)
    torch.rand(7)  # another state of the generator
    running.resume(tmp_path / "part" / "weights" / "last.pt", silent)
    assert rows(tmp_path / "part") == rows(trained.parents[1])
    for name in ("best.pt", "last.pt"):
        one, other = (load_checkpoint(folder / "weights" / name) for folder in (tmp_path / "part", trained.parents[1]))
        assert all(torch.equal(value, other.state_dict[key]) for key, value in one.state_dict.items())


def test_a_finished_run_is_not_resumed(trained: Path) -> None:
    with pytest.raises(InputError, match=r"the run is finished. Start a new one with --start"):
        running.resume(trained.with_name("last.pt"), silent)


def test_a_run_without_a_whole_epoch_is_started_again(tmp_path: Path) -> None:
    last = tmp_path / "run" / "weights" / "last.pt"
    for nowhere in (last, Path("/nowhere.pt")):
        with pytest.raises(InputError, match=r"cannot be opened"):
            running.resume(nowhere, silent)
    write_json(tmp_path / "run" / "run.json", {})
    with pytest.raises(InputError, match=r"ended before its first epoch did.*start it again with the command"):
        running.resume(last, silent)


def test_the_loss_falls(crops: str, tmp_path: Path) -> None:
    running.train(
        settings(crops, epochs=15, optimizer="sgd", lr=0.05, holdout=0, erase=0, pad=0, flip=0, triplet_weight=0),
        tmp_path / "run",
        silent,
    )
    lines = [line.split(",") for line in rows(tmp_path / "run")]
    losses = [float(line[lines[0].index("train/loss")]) for line in lines[1:]]
    assert losses[-1] < 0.8 * losses[0]


def test_every_teacher_loss_trains(crops: str, trained: Path, tmp_path: Path) -> None:
    changes = {"teacher": [str(trained), str(trained)], "overhaul_weight": 0.5, "relation_weight": 0.5, "epochs": 1}
    running.train(settings(crops, **changes), tmp_path / "run", silent)
    line = dict(zip(*(row.split(",") for row in rows(tmp_path / "run")), strict=True))
    assert all(float(line[f"train/{name}"]) > 0 for name in ("kd_logit", "kd_overhaul", "kd_relation"))


def test_the_local_branch_trains_and_ranks(crops: str, tmp_path: Path) -> None:
    changes = {"local": True, "height": 128, "feature": "both", "circle_weight": 0.1, "epochs": 1}
    best = running.train(settings(crops, **changes), tmp_path / "run", silent)
    line = dict(zip(*(row.split(",") for row in rows(tmp_path / "run")), strict=True))
    assert float(line["train/local"]) > 0
    assert float(line["train/circle"]) > 0
    with torch.no_grad():
        assert ReIDModel.load(best).embed_both(torch.rand(2, 3, 128, 32))[1].shape == (2, 8, 128)


def test_other_identities_are_refused(crops: str, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the teacher knows 6 identities, the student 8"):
        running.train(settings(crops, teacher=str(trained), holdout=0), tmp_path / "run", silent)
    assert not (tmp_path / "run").exists()


def test_a_pruned_network_trains_on(crops: str, trained: Path, tmp_path: Path) -> None:
    source = load_checkpoint(trained)
    pruned = prune(ReIDModel.from_checkpoint(source), 0.5).model
    file = tmp_path / "pruned.pt"
    save_checkpoint(file, Checkpoint(pruned.config, pruned.state_dict(), source.identities))
    best = running.train(settings(crops, epochs=1), tmp_path / "run", silent, start=str(file))
    narrow = {key: value.shape for key, value in pruned.state_dict().items()}
    assert {key: value.shape for key, value in ReIDModel.load(best).state_dict().items()} == narrow
    said: list[str] = []
    running.train(settings(crops, epochs=1, holdout=0), tmp_path / "other", said.append, start=str(file))
    assert any("the classifier is new" in line for line in said)


def test_a_loss_that_is_not_finite_ends_the_run(crops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ReIDModel, x_nchw: torch.Tensor) -> torch.Tensor:
        return x_nchw * torch.nan

    monkeypatch.setattr(ReIDModel, "normalise", broken)
    with pytest.raises(KDYoloError, match=r"not finite in epoch 1 \(id nan\): lower train.lr=0.001"):
        running.train(settings(crops, triplet_weight=0, epochs=1), tmp_path / "run", silent)
