"""Sparse training from start to end: the share is reached, killed runs resume exactly, the result is a plain network."""

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

import kd_yolo.training.sparse as sparse
from kd_yolo.data.detection import make_street
from kd_yolo.errors import ConfigError
from kd_yolo.prune.sparsity import zero_share
from kd_yolo.training.checkpoint import STATE
from kd_yolo.training.norms import default_norms
from kd_yolo.training.sparse import GAMMAS_FILE, SPARSE_FILE, SparseTrainer
from kd_yolo.yolo.loading import load_checkpoint, load_checkpoint_dict
from tests.training.networks import KEEP, Killed, kill_at, same_weights, saved_weights

Train = Callable[..., Any]


def gammas_of(model: Any) -> list[torch.Tensor]:
    return [model.get_submodule(name).weight.detach() for name in default_norms(model)]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("street")
    make_street(folder / "street", "smoke")
    return str(folder / "street" / "data.yaml")


OPTIMIZERS = {
    "SGD": dict(optimizer="SGD", lr0=0.01, warmup_epochs=1),
    "AdamW": dict(optimizer="AdamW", lr0=1e-3, nbs=12),
    "MuSGD": dict(optimizer="MuSGD", lr0=0.01, sparsity=0.3),  # has three learning rates
}


@pytest.fixture(scope="module")
def runs(
    train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory, stock: str, street: str
) -> Callable[[str], Any]:
    """Finished runs on the smallest street set, one an optimizer."""
    train, done = train_into(tmp_path_factory.mktemp("sparse")), {}

    def get(name: str) -> Any:
        if name not in done:
            settings = {"sparsity": 0.6, **OPTIMIZERS[name]}
            done[name] = train(stock, name=name, trainer=SparseTrainer, data=street, epochs=4, **settings)
        return done[name]

    return get


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_wanted_share_is_zero_at_the_end(runs: Callable[[str], Any], rows: Any, optimizer: str) -> None:
    run = runs(optimizer)
    wanted = run.sparse.sparsity
    table = rows(run.save_dir)
    shares = [float(row["sparse/zeros"]) for row in table]
    assert shares[-1] == pytest.approx(wanted, rel=0.01)
    assert max(shares) <= wanted * 1.01
    assert all(float(row["sparse/lambda"]) > 0 for row in table)
    for model in (run.model, load_checkpoint(run.wdir / SPARSE_FILE)[0]):
        assert zero_share(gammas_of(model)) == pytest.approx(wanted, rel=0.01)


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
    assert zero_share(gammas_of(load_checkpoint(run.wdir / "best.pt")[0])) < 0.6  # an earlier epoch
    assert load_checkpoint_dict(run.wdir / "best.pt")["optimizer"] is None
    assert run.best.name == SPARSE_FILE  # what YOLO goes on with after train()


def test_the_sizes_of_the_gammas(runs: Callable[[str], Any], stock: str) -> None:
    run = runs("SGD")
    with np.load(run.save_dir / GAMMAS_FILE) as arrays:
        before, after = arrays["before"], arrays["after"]
    start = torch.cat(gammas_of(load_checkpoint(stock)[0])).abs()
    assert torch.allclose(torch.from_numpy(before), start)
    assert torch.equal(torch.from_numpy(after), torch.cat(gammas_of(run.model)).abs())
    assert sorted(file.name for file in run.save_dir.glob("*gammas*")) == [GAMMAS_FILE]


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


def test_the_step_takes_the_learning_rate_of_its_group(
    train: Train, stock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spies on each proximal step of MuSGD, whose class branch learns three times as fast."""
    step, seen = sparse.shrink, []

    def spy(gammas: list[nn.Parameter], rates: list[float], share: float, left: float) -> Any:
        expected = [group["lr"] for gamma in gammas for group in groups() if any(gamma is p for p in group["params"])]
        assert rates == expected
        before = [gamma.detach().clone() for gamma in gammas]
        penalty = step(gammas, rates, share, left)
        for old, new, rate in zip(before, gammas, expected, strict=True):
            naive = old.sign() * (old.abs() - rate * penalty).clamp(min=0)
            assert torch.allclose(new, naive, atol=1e-6)
        seen.append((len(set(rates)), left))
        return penalty

    kept: dict[str, Any] = {}
    groups = lambda: kept["trainer"].optimizer.param_groups  # noqa: E731
    monkeypatch.setattr(sparse, "shrink", spy)
    on = {"on_train_start": lambda trainer: kept.update(trainer=trainer)}
    train(stock, on=on, trainer=SparseTrainer, optimizer="MuSGD", warmup_epochs=1, batch=2)
    assert [count for count, _ in seen] == [2] * 7  # the first step of warm-up has rate 0
    assert seen[-1][1] == 1.0
    assert [left for _, left in seen] == sorted((left for _, left in seen), reverse=True)


def test_a_step_that_amp_skips_shrinks_nothing(train: Train, stock: str) -> None:
    changed: list[bool] = []

    class Scaler(torch.amp.GradScaler):
        def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            """As GradScaler does after it found infinite gradients."""

    def skip(trainer: Any) -> None:
        trainer.scaler = Scaler("cpu", enabled=False)
        before = [gamma.detach().clone() for gamma in trainer._gammas.values()]
        trainer.add_callback("on_train_batch_end", lambda t: changed.append(
            any(not torch.equal(a, b) for a, b in zip(before, t._gammas.values(), strict=True))
        ))  # fmt: skip

    train(stock, on={"on_train_start": skip}, trainer=SparseTrainer, epochs=1)
    assert changed == [False, False]


def test_norm_layers_have_no_weight_decay(runs: Callable[[str], Any]) -> None:
    run = runs("AdamW")
    assert {run.optimizer.param_groups[i]["weight_decay"] for i in run._groups} == {0.0}
    assert any(group["weight_decay"] > 0 for group in run.optimizer.param_groups)


def test_chosen_layers_only(train: Train, stock: str) -> None:
    names = ["model.2.cv1.bn", "model.4.cv1.bn"]
    trainer = train(stock, trainer=SparseTrainer, norms=names, sparsity=0.5, epochs=1)
    zeros = {
        n: float((m.weight == 0).float().mean())
        for n, m in trainer.model.named_modules()
        if isinstance(m, nn.BatchNorm2d)
    }
    assert zero_share([trainer.model.get_submodule(name).weight for name in names]) == pytest.approx(0.5)
    assert {name for name, share in zeros.items() if share} <= set(names)


def test_frozen_layers_keep_their_gammas(train: Train, stock: str) -> None:
    trainer = train(stock, trainer=SparseTrainer, freeze=10, epochs=1)
    assert min(int(name.split(".")[1]) for name in trainer._gammas) == 12
    assert trainer.model.model[0].bn.weight.all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(sparsity=0), "sparsity: Input should be greater than 0"),
        (dict(sparsity=1.0), "sparsity: Input should be less than 1"),
        (dict(sparsity="much"), "sparsity: .*got 'much'"),
        (dict(time=1.0), "time= does not go with sparse training"),
        (dict(norms=["model.2.cv1.conv"]), "no BatchNorm layer 'model.2.cv1.conv'.*'model.2.cv1.bn'"),
        (dict(norms=["model.0.bn"], freeze=1), "no BatchNorm layer to work on"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(train: Train, stock: str, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        train(stock, trainer=SparseTrainer, **arguments)


def test_a_resumed_run_keeps_its_share(train: Train, stock: str, tmp_path: Path) -> None:
    def keep(trainer: Any) -> None:
        shutil.copy(trainer.last, tmp_path / "kept.pt")

    train(stock, trainer=SparseTrainer, on={"on_model_save": keep}, patience=7)
    again = dict(model=str(tmp_path / "kept.pt"), resume=str(tmp_path / "kept.pt"))
    with pytest.raises(ConfigError, match="a resumed run keeps its sparsity"):
        SparseTrainer(overrides={**again, "sparsity": 0.3})
    trainer: Any = SparseTrainer(overrides={**again, "sparsity": 0.5})
    assert trainer.args.patience == 0  # it must not stop before the zeros are there


@pytest.mark.parametrize(
    ("yaml", "fixed"), [("yolo11n.yaml", ".attn."), ("yolo12n.yaml", ".attn."), ("yolov8n-seg.yaml", ".proto.cv3.")]
)
def test_layers_whose_width_is_fixed_are_left_out(build: Callable[..., Any], yaml: str, fixed: str) -> None:
    model = build(yaml)
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    left_out = norms - set(default_norms(model))
    assert left_out
    assert left_out == {name for name in norms if fixed in name}
