"""Training for INT8 (``quantize=8``): as upstream does it, for pruned networks too, and resumed exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils.torch_utils import is_qat

from kd_yolo.base.errors import ConfigError, InputError, MissingDependencyError
from kd_yolo.config.prune import PruneSettings
from kd_yolo.prune.network import Network
from kd_yolo.training.trainers import RetrainTrainer
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict
from tests.training.networks import Killed, kill_at, same_weights, saved_weights

pytest.importorskip("modelopt", reason="needs the extra qat")
Train = Callable[..., Any]
# importing modelopt alone takes seconds: what trains is slow
ARGUMENTS: dict[str, Any] = dict(quantize=8, optimizer="AdamW", lr0=1e-4)


def ranges(path: Path) -> dict[str, torch.Tensor]:
    return {key: value for key, value in saved_weights(path).items() if key.endswith("_amax")}


@pytest.fixture(scope="module")
def run(train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory, pruned: str) -> Any:
    """A finished run of a pruned network."""
    return train_into(tmp_path_factory.mktemp("quantized"))(pruned, epochs=1, **ARGUMENTS)


@pytest.mark.slow
def test_a_stock_network_trains_as_upstream_trains_it(
    train: Train, plain: Train, rows: Any, stock: str, tmp_path: Path
) -> None:
    train(stock, name="ours", epochs=1, **ARGUMENTS)
    plain(stock, name="theirs", epochs=1, **ARGUMENTS)
    assert rows(tmp_path / "ours") == rows(tmp_path / "theirs")
    ours, theirs = (saved_weights(tmp_path / name / "weights" / "last.pt") for name in ("ours", "theirs"))
    assert any(key.endswith("weight_quantizer._amax") for key in ours)
    assert same_weights(ours, theirs)


@pytest.mark.slow
def test_plain_yolo_opens_the_result(run: Any) -> None:
    best = YOLO(str(run.best))
    assert is_qat(best.model)
    assert best.predict(torch.rand(1, 3, 64, 64), verbose=False)[0].boxes is not None
    pickled = load_checkpoint_dict(run.best)["model"]
    assert not is_qat(pickled)  # the quantisers lie beside it


@pytest.mark.slow
def test_a_killed_run_resumes_exactly(train: Train, rows: Any, pruned: str, tmp_path: Path) -> None:
    arguments = {**ARGUMENTS, "epochs": 3, "finish": False, "save": True}
    train(pruned, name="whole", **arguments)
    with pytest.raises(Killed):
        train(pruned, name="cut", on=kill_at(epoch=2, batch=0), **arguments)
    last = tmp_path / "cut" / "weights" / "last.pt"
    before = ranges(last)
    train(str(last), resume=str(last), finish=False, save=True)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert same_weights(saved_weights(last), saved_weights(tmp_path / "whole" / "weights" / "last.pt"))
    assert before
    assert same_weights(ranges(last), before)  # calibrated once, at the start


@pytest.mark.slow
def test_a_network_that_was_trained_for_int8_is_not_trained_or_pruned_again(run: Any, tmp_path: Path) -> None:
    arguments = dict(model=str(run.best), data=str(run.args.data), project=str(tmp_path), name="x", device="cpu")
    with pytest.raises(InputError, match=r"best.pt was trained for INT8.*give the network that it was trained from"):
        RetrainTrainer(overrides={**arguments, "epochs": 1, "imgsz": 64, "workers": 0}).train()
    with pytest.raises(InputError, match=r"best.pt was trained for INT8.*give the network that it was trained from"):
        Network.load(PruneSettings(model=str(run.best)))


@pytest.mark.parametrize("value", [16, "fp16", 32, "w8a16"])
def test_a_training_takes_8_only(train: Train, stock: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"quantize={value!r}: a training takes 8, for INT8"):
        train(stock, quantize=value)


def test_without_the_extra(train: Train, stock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_yolo.base.extras.is_installed", lambda module: module != "modelopt")
    with pytest.raises(MissingDependencyError, match=r"quantize=8.*nvidia-modelopt.*pip install 'kd-yolo\[qat\]'"):
        train(stock, quantize="int8")


# -- what a stranger's checkpoint may say of its quantisers ------------------------------------------------------------
def first(state: Any, kind: str = "weight") -> Any:
    """The settings of one quantiser, as the last mode left them."""
    quantizers = state["modelopt"]["modelopt_state_dict"][-1][1]["metadata"]["quantizer_state"]
    return quantizers[f"model.0.conv.{kind}_quantizer"]


def mode(state: Any, name: str, number: int = 0) -> None:
    modes = state["modelopt"]["modelopt_state_dict"]
    modes[number] = (name, modes[number][1])


def config(state: Any, number: int = 0) -> Any:
    return state["modelopt"]["modelopt_state_dict"][number][1]["config"]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "no state": lambda state: state.clear(),
    "another mode": lambda state: mode(state, "sparse_magnitude"),
    "a mode twice": lambda state: mode(state, "quantize", 1),
    "a backend, which modelopt looks up": lambda state: first(state).update(backend="mx"),
    "a backend in the configuration": lambda state: config(state)["quant_cfg"][1]["cfg"].update(backend="mx"),
    "an algorithm": lambda state: config(state).update(algorithm="awq_lite"),
    "a folder to write to": lambda state: config(state, 1)["layerwise"].update(checkpoint_dir="/tmp/x"),
    "a layer that is not there": lambda state: state["ranges"].update(
        {"model.99.conv.weight_quantizer._amax": torch.ones(1)}
    ),
    "a range for nothing": lambda state: state["ranges"].update({"model.0.conv.weight": torch.zeros(16)}),
    "a range below 0": lambda state: state["ranges"]["model.0.conv.input_quantizer._amax"].fill_(-1),
    "a range that is no number": lambda state: state["ranges"]["model.0.conv.input_quantizer._amax"].fill_(torch.nan),
    "ranges of another width": lambda state: state["ranges"].update(
        {"model.0.conv.weight_quantizer._amax": torch.ones(5, 1, 1, 1)}
    ),
    "a huge buffer": lambda state: first(state)["_pytorch_state_metadata"]["buffers"]["_amax"].update(
        shape=torch.Size([10**12])
    ),
    "a buffer of another name": lambda state: first(state)["_pytorch_state_metadata"]["buffers"].update(
        forward={"shape": torch.Size([1]), "dtype": torch.float32}
    ),
    "a parameter": lambda state: first(state)["_pytorch_state_metadata"]["params"].update(weight={}),
    "a number of bits": lambda state: first(state).update(_num_bits=10**9),
    "blocks": lambda state: first(state).update(_block_sizes={-1: 10**9}),
    "a deep configuration": lambda state: config(state).update(effective_bits=[[[[[[[[[[[8]]]]]]]]]]]),
    "a pattern that is none": lambda state: config(state)["quant_cfg"][0].update(quantizer_name="x" * 10_000),
    "a class that is none": lambda state: config(state)["quant_cfg"][0].update(parent_class="__import__('os')"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_quantisers_that_upstream_does_not_write_are_refused(run: Any, tmp_path: Path, change: str) -> None:
    ckpt = load_checkpoint_dict(run.best)
    CHANGES[change](ckpt["modelopt"])
    file = tmp_path / "x.pt"
    torch.save({**ckpt, "modelopt": ckpt["modelopt"] or {"ranges": {}}}, file)
    message = r"x.pt holds quantisers that quantize=8 does not write: .*--trust-weights"
    with pytest.raises(InputError, match=message):
        load_checkpoint(file)
    with pytest.raises(InputError, match=message):
        YOLO(str(file))
