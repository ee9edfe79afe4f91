"""``--start`` uses what was given beside it or refuses it by name; a run goes on only from a state that is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.reid.model.checkpoint import load_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.train import run as running
from kd_yolo.reid.train.engine import Trainer

FAST: dict[str, Any] = {
    "ids": 2, "images": 2, "device": "cpu", "workers": 0, "epochs": 1, "holdout": 0, "erase": 0.0, "pad": 0,
}  # fmt: skip
SMALL = {"backbone": "tiny_resnet", "pretrained": "none", "height": 64, "width": 32}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_crops(tmp_path_factory.mktemp("crops") / "smoke", "smoke").folder)


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def interrupted(crops: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``last.pt`` of a run that was stopped after its first of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "part"
    with pytest.MonkeyPatch.context() as patch:
        close = Trainer._close_epoch

        def stop(self: Trainer, row: Any, metrics: Any) -> None:
            close(self, row, metrics)
            raise KeyboardInterrupt

        patch.setattr(Trainer, "_close_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            running.train(resolve_reid(None, {**SMALL, **FAST, "data": crops, "epochs": 2}), folder, silent)
    return folder / "weights" / "last.pt"


def started(crops: str, start: Path, folder: Path, **changes: Any) -> tuple[ReIDModel, dict[str, Any]]:
    """The network that a run begins with, its settings as they are recorded; it is not trained."""
    with pytest.MonkeyPatch.context() as patch:
        seen: list[Trainer] = []
        patch.setattr(Trainer, "fit", lambda self: seen.append(self) or self.best_file)
        running.train(resolve_reid(None, {**FAST, "data": crops, **changes}), folder, silent, start=str(start))
        batch = next(iter(seen[0].stage.batches(0)))[0]
    config = yaml.safe_load((folder / "args.yaml").read_text())["network"]
    assert tuple(batch.shape[2:]) == (config["height"], config["width"])
    assert (seen[0].model.config.height, seen[0].model.config.width) == tuple(batch.shape[2:])
    return seen[0].model, config


def test_sizes_that_are_given_are_used(crops: str, interrupted: Path, tmp_path: Path) -> None:
    model, config = started(crops, interrupted, tmp_path / "a", height=128, width=64, backbone="tiny_resnet")
    assert (config["backbone"], config["height"], config["width"], config["pretrained"]) == (
        "tiny_resnet",
        128,
        64,
        "none",
    )
    weights = load_checkpoint(interrupted).state_dict
    assert torch.equal(model.backbone.conv1.weight, weights["backbone.conv1.weight"])
    assert "new" not in model.weights_note


def test_what_is_not_given_is_the_checkpoints(crops: str, interrupted: Path, tmp_path: Path) -> None:
    _, config = started(crops, interrupted, tmp_path / "a")
    assert (config["backbone"], config["height"], config["width"]) == ("tiny_resnet", 64, 32)


def test_new_parts_are_said(crops: str, interrupted: Path, tmp_path: Path) -> None:
    model, config = started(crops, interrupted, tmp_path / "a", head="arcface", pool="gem", local=True, height=128)
    assert (config["head"], config["pool"], config["local"]) == ("arcface", "gem", True)
    assert model.local is not None
    for part in ("the classifier", "the local branch", "the pool's exponent"):
        assert f"{part} is new" in model.weights_note


@pytest.mark.parametrize(("name", "value"), [("backbone", "resnet34"), ("embedding", 64), ("pretrained", "imagenet")])
def test_what_does_not_fit_is_refused_by_name(crops: str, interrupted: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"network\.{name}={value}"):
        running.train(
            resolve_reid(None, {**FAST, "data": crops, name: value}), Path("never"), silent, start=str(interrupted)
        )
    assert not Path("never").exists()


def edit(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        inner: Any = values
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


STATE = ["extra", "train"]
SETTINGS = ["extra", "settings"]
TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "no settings": edit(SETTINGS, None), "no data": edit([*SETTINGS, "data"], None),
    "an unknown setting": edit([*SETTINGS, "train", "lrr"], 1),
    "lr nan": edit([*SETTINGS, "train", "lr"], float("nan")),
    "another optimizer": edit([*SETTINGS, "train", "optimizer"], "sgd"),
    "a section": edit([*SETTINGS, "train"], 3),
    "fewer epochs": edit([*SETTINGS, "train", "epochs"], 0),
    "all epochs": edit(["epoch"], 5),
    "epoch 0": edit(["epoch"], 0),
    "no rows": edit([*STATE, "rows"], []),
    "a row": edit([*STATE, "rows"], [{"lr": 0.1}]),
    "text": edit([*STATE, "rows"], ["x"]),
    "best": edit([*STATE, "best"], {"mAP": 1.0}), "generator": edit([*STATE, "generator"], torch.zeros(3)),
    "a short generator": edit([*STATE, "generator"], torch.zeros(3, dtype=torch.uint8)),
    "a strange moment": edit([*STATE, "optimizer", "state", 0, "exp_avg"], torch.ones(1)),
    "a moment nan": edit([*STATE, "optimizer", "state", 0, "exp_avg"], torch.full((8, 3, 7, 7), float("nan"))),
    "a negative one": edit([*STATE, "optimizer", "state", 0, "exp_avg_sq"], torch.full((8, 3, 7, 7), -1.0)),
    "half a state": edit([*STATE, "optimizer", "state", 0], {"step": torch.tensor(1.0)}),
    "a parameter more": edit([*STATE, "optimizer", "state", 10**6], {"step": torch.tensor(1.0)}),
    "no optimizer": edit([*STATE, "optimizer"], {}), "objective": edit([*STATE, "objective"], {"x": torch.ones(1)}),
    "scaler": edit([*STATE, "scaler"], {"scale": "x"}), "identities": edit(["identities"], [1, 2]),
    "a teacher": edit([*SETTINGS, "distill", "teacher"], ["/dev/zero"]), "data": edit([*SETTINGS, "data"], "/dev"),
    "another network": edit([*SETTINGS, "network"], {"depth": 5}), "state": edit(STATE, None),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_state_is_refused(name: str, interrupted: Path, tmp_path: Path) -> None:
    values = torch.load(interrupted, weights_only=True)
    TAMPERED[name](values)
    path = tmp_path / "run" / "weights" / "last.pt"
    path.parent.mkdir(parents=True)
    torch.save(values, path)
    with pytest.raises(InputError) as error:
        running.resume(path, silent)
    assert len(str(error.value)) < 800


def test_of_equal_epochs_the_latest_is_the_best(crops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience still counts from the first of them: a ranking that is perfect gets no better."""
    monkeypatch.setattr("kd_yolo.reid.train.run.as_metrics", lambda result: {"mAP": 1.0})
    monkeypatch.setattr(
        Trainer, "_train_epoch", lambda self: {"epoch": self.epoch + 1, "accuracy": 1.0, "lr": 0.1, "train/id": 1.0}
    )
    said: list[str] = []
    config = resolve_reid(None, {**SMALL, **FAST, "data": crops, "holdout": 0.25, "epochs": 9, "patience": 3})
    best = running.train(config, tmp_path / "run", said.append)
    assert load_checkpoint(best).epoch == 4
    assert "a ranking among so few cannot tell epochs apart" in "\n".join(said)
