"""Sparse training from start to end: the share is reached, a killed run resumes, the result is a plain network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

import kd_yolo.prune.sparse.trainer as sparse
from kd_yolo.base.errors import ConfigError
from kd_yolo.builtin.street_set import make_street
from kd_yolo.prune.sparse.gammas import find_gammas
from kd_yolo.prune.sparse.penalty import zero_share
from kd_yolo.prune.sparse.trainer import GAMMAS_FILE, HOLD, SPARSE_FILE, SparseTrainer
from kd_yolo.training.checkpoint import STATE
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict
from tests.training.networks import KEEP, Killed, kill_at, same_weights, saved_weights

Train = Callable[..., Any]


def gammas_of(model: Any) -> list[list[torch.Tensor]]:
    return [[part.of(model) for part in group] for group in find_gammas(model.requires_grad_(True), None)]


def flat(gammas: list[list[torch.Tensor]]) -> torch.Tensor:
    return torch.cat([gamma for group in gammas for gamma in group])


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("street")
    make_street(folder / "street", "smoke")
    return str(folder / "street" / "data.yaml")


OPTIMIZERS = {
    "SGD": dict(optimizer="SGD", lr0=0.01, warmup_epochs=1),
    "AdamW": dict(optimizer="AdamW", lr0=1e-3, nbs=12),
}


@pytest.fixture(scope="module")
def runs(
    train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory, stock: str, street: str
) -> Callable[[str], Any]:
    """Finished runs on the smallest street set, one an optimizer; each keeps its files as they were before the end."""
    train, done = train_into(tmp_path_factory.mktemp("sparse")), {}

    def keep(trainer: Any) -> None:
        shutil.copytree(trainer.save_dir, trainer.save_dir.with_name(f"{trainer.args.name}-cut"), dirs_exist_ok=True)

    def get(name: str) -> Any:
        if name not in done:
            settings = {"sparsity": 0.6, **OPTIMIZERS[name]}
            done[name] = train(
                stock,
                name=name,
                trainer=SparseTrainer,
                data=street,
                epochs=3,
                patience=7,
                on={"on_model_save": keep},
                finish=name == "SGD",
                save=True,
                **settings,
            )
        return done[name]

    return get


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_wanted_share_is_zero_at_the_end(runs: Callable[[str], Any], rows: Any, optimizer: str) -> None:
    run = runs(optimizer)
    table = rows(run.save_dir)
    shares = [float(row["sparse/zeros"]) for row in table]
    assert shares[-1] == pytest.approx(0.6, rel=0.02)
    assert max(shares) <= 0.6 * 1.02
    assert all(float(row["sparse/lambda"]) > 0 for row in table)
    for model in (run.model, load_checkpoint(run.wdir / SPARSE_FILE)[0]):
        gammas = gammas_of(model)
        assert zero_share(gammas) == pytest.approx(0.6, rel=0.02)
        for group in gammas:  # in every layer, and all gammas of a channel together
            dead = torch.stack(group) == 0
            assert torch.equal(dead.any(0), dead.all(0))
            assert int(dead.all(0).sum()) == round(0.6 * dead.shape[1])


def test_the_result_is_a_plain_network(runs: Callable[[str], Any]) -> None:
    run = runs("SGD")
    ckpt = load_checkpoint_dict(run.wdir / SPARSE_FILE)
    assert type(ckpt["model"]) is DetectionModel
    assert (ckpt["epoch"], ckpt["ema"], ckpt["optimizer"]) == (-1, None, None)
    assert "kd" not in ckpt["train_args"]
    assert "kd" not in dict(ckpt["model"].args)
    assert ckpt[STATE] == {"config": {"sparsity": 0.6, "norms": None}, "kind": "sparse training"}
    assert YOLO(str(run.wdir / SPARSE_FILE)).predict(torch.rand(1, 3, 64, 64), verbose=False)[0].boxes is not None


def test_it_has_the_weights_of_the_last_epoch(runs: Callable[[str], Any]) -> None:
    run = runs("SGD")
    assert same_weights(saved_weights(run.wdir / SPARSE_FILE), saved_weights(run.last))
    assert load_checkpoint_dict(run.wdir / "best.pt")["optimizer"] is None
    assert run.best.name == SPARSE_FILE  # what YOLO goes on with after train()


def test_the_sizes_of_the_gammas(runs: Callable[[str], Any], stock: str) -> None:
    run = runs("SGD")
    with np.load(run.save_dir / GAMMAS_FILE) as arrays:
        before, after = (torch.from_numpy(arrays[key]) for key in ("before", "after"))
    assert torch.allclose(before, flat(gammas_of(load_checkpoint(stock)[0])).abs())
    assert torch.equal(after, flat(gammas_of(run.model)).abs())
    assert [file.name for file in run.save_dir.glob("*gammas*")] == [GAMMAS_FILE]


def test_a_killed_run_resumes_exactly(train: Train, rows: Any, pruned: str, tmp_path: Path) -> None:
    """In warm-up, with gradients that wait for a step across the epoch where it was cut; the network is pruned."""
    arguments = dict(trainer=SparseTrainer, sparsity=0.4, batch=2, nbs=6, epochs=3, warmup_epochs=2, close_mosaic=1)
    train(pruned, name="whole", **arguments)
    with pytest.raises(Killed):
        train(pruned, name="cut", on=kill_at(epoch=2, batch=0), **arguments)
    folder = tmp_path / "cut" / "weights"
    assert not (folder / SPARSE_FILE).exists()
    train(str(folder / "last.pt"), resume=str(folder / "last.pt"), trainer=SparseTrainer)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    for name in (SPARSE_FILE, "last.pt", "best.pt"):
        assert same_weights(saved_weights(folder / name), saved_weights(tmp_path / "whole" / "weights" / name)), name
    assert saved_weights(folder / SPARSE_FILE)["model.0.conv.weight"].shape[0] == KEEP
    one, two = (dict(np.load(tmp_path / name / GAMMAS_FILE)) for name in ("whole", "cut"))
    assert all(np.array_equal(one[key], two[key]) for key in ("before", "after"))


def test_the_step_takes_the_learning_rate_of_its_time(
    train: Train, rows: Any, stock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With warm-up, accumulation and MuSGD's several rates: the rate of a step over those that are still to come."""
    step, seen, kept = sparse.shrink, [], {}

    def spy(groups: Any, share: float, left: float) -> torch.Tensor:
        trainer: Any = kept["trainer"]
        index = next(i for i, g in enumerate(trainer.optimizer.param_groups) if any(p is gamma for p in g["params"]))
        seen.append((trainer.optimizer.param_groups[index]["lr"], left))
        thresholds = step(groups, share, left)
        kept["lambda"] = float(thresholds.mean()) / seen[-1][0]
        return thresholds

    def start(trainer: Any) -> None:
        nonlocal gamma
        kept["trainer"], gamma = trainer, trainer.model.model[0].bn.weight

    gamma: Any = None
    monkeypatch.setattr(sparse, "shrink", spy)
    arguments = dict(optimizer="MuSGD", warmup_epochs=1, batch=2, nbs=4, epochs=3, sparsity=0.5)
    trainer = train(stock, on={"on_train_start": start}, trainer=SparseTrainer, finish=False, **arguments)
    rates = [rate for rate, _ in seen]
    whole = sum(trainer.lf(step // 4) for step in range(1, 12, 2)) * rates[-1] / trainer.lf(2)
    for i in range(len(seen))[-4:]:  # after warm-up
        left = max(sum(rates[i + 1 :]) - HOLD * whole, 0.0)
        assert seen[i][1] == pytest.approx(1 + left / rates[i])
    assert [left > 1 for _, left in seen[-4:]] == [True, False, False, False]
    assert seen[-1][1] == 1.0
    assert len(set(rates[:3])) == 3  # warm-up
    assert float(rows(trainer.save_dir)[-1]["sparse/lambda"]) == pytest.approx(kept["lambda"], rel=1e-4)
    assert zero_share(gammas_of(trainer.model)) == pytest.approx(0.5, rel=0.02)


def test_a_step_that_amp_skips_shrinks_nothing(train: Train, stock: str) -> None:
    class Scaler(torch.amp.GradScaler):
        def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            """As GradScaler does after it found infinite gradients."""

    changed: list[bool] = []

    def skip(trainer: Any) -> None:
        trainer.scaler = Scaler("cpu", enabled=False)
        before = trainer._sizes()
        trainer.add_callback("on_train_batch_end", lambda t: changed.append(not torch.equal(before, t._sizes())))

    with pytest.raises(Killed):
        train(stock, on={"on_train_start": skip, **kill_at(0, 1)}, trainer=SparseTrainer)
    assert changed == [False]


def test_norm_layers_have_no_weight_decay(runs: Callable[[str], Any]) -> None:
    run = runs("AdamW")
    assert run.optimizer.param_groups[run._param_group]["weight_decay"] == 0.0
    assert any(group["weight_decay"] > 0 for group in run.optimizer.param_groups)


def test_chosen_layers_only(train: Train, stock: str) -> None:
    names = ["model.2.m.0.cv1.bn", "model.4.bn"]
    ends: list[str] = []
    on = {"on_train_end": lambda trainer: ends.append(trainer.best.name)}
    trainer = train(stock, on=on, trainer=SparseTrainer, norms=names, freeze=2, epochs=1)
    assert ends == [SPARSE_FILE]  # what the end of the run validated
    norms = {name: module for name, module in trainer.model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert {name for name, norm in norms.items() if not norm.weight.all()} == set(names)
    assert zero_share([[norms[name].weight] for name in names]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(sparsity=0), "sparsity is 0.0, expected a share"),
        (dict(sparsity=1.0), "sparsity is 1.0, expected a share"),
        (dict(sparsity="much"), "sparsity: .*got 'much'"),
        (dict(time=1.0), "time= does not go with sparse training"),
        (dict(norms=["model.2.cv1.conv"]), "no BatchNorm layer 'model.2.cv1.conv'.*'model.2.cv1.bn'"),
        (dict(norms=["model.0.bn"], freeze=1), "no BatchNorm layer to work on"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(train: Train, stock: str, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        train(stock, trainer=SparseTrainer, **arguments)


def test_a_resumed_run_keeps_its_share(runs: Callable[[str], Any]) -> None:
    last = str(runs("SGD").save_dir.with_name("SGD-cut") / "weights" / "last.pt")
    with pytest.raises(ConfigError, match="a resumed run keeps its sparsity"):
        SparseTrainer(overrides={"model": last, "resume": last, "sparsity": 0.3})
    trainer: Any = SparseTrainer(overrides={"model": last, "resume": last, "sparsity": 0.6})
    assert trainer.args.patience == 0  # it must not stop before the zeros are there


def test_a_run_that_was_cut_off_at_its_very_end(runs: Callable[[str], Any]) -> None:
    """All that a later stage needs is there before last.pt says that the last epoch is done."""
    run = runs("SGD")
    cut = run.save_dir.with_name("SGD-cut")
    assert load_checkpoint_dict(cut / "weights" / "last.pt")["epoch"] == 2
    assert same_weights(saved_weights(cut / "weights" / SPARSE_FILE), saved_weights(run.wdir / SPARSE_FILE))
    assert (cut / GAMMAS_FILE).read_bytes() == (run.save_dir / GAMMAS_FILE).read_bytes()
