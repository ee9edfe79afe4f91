"""Timing: turns, warm-up, threads; the runners compute what the model computes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import SETTINGS

from kd_yolo.base.errors import ConfigError, MissingDependencyError
from kd_yolo.yolo import measure, onnx_session
from kd_yolo.yolo.measure import Latency, deployed_copy, measure_latency, onnx_runner, torch_runner

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in onnx_session.NEEDED), reason="ONNX Runtime is not installed"
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still; what is timed moves it."""
    fake = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: fake.now_s))
    return fake


def takes(clock: SimpleNamespace, times_ms: list[float]) -> Callable[[], None]:
    left = iter(times_ms)

    def run() -> None:
        clock.now_s += next(left) / 1e3

    return run


def test_percentiles_without_the_warm_up(clock: SimpleNamespace) -> None:
    runners = {"a": takes(clock, [900, 900, *range(1, 11)]), "b": takes(clock, [900, 900, *[7] * 10])}
    found = measure_latency(runners, rounds=10, warmup=2)
    assert found["a"] == Latency(pytest.approx(5.5), pytest.approx(9))
    assert found["b"] == Latency(pytest.approx(7), pytest.approx(7))


def test_all_take_turns_in_changing_order() -> None:
    calls: list[str] = []
    measure_latency({n: (lambda n=n: calls.append(n)) for n in "abc"}, rounds=20, warmup=3)
    rounds = ["".join(calls[i : i + 3]) for i in range(0, len(calls), 3)]
    assert len(rounds) == 23
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert len(set(rounds)) > 3


def test_threads_are_pinned_and_restored() -> None:
    before, seen = torch.get_num_threads(), []
    measure_latency({"a": lambda: seen.append(torch.get_num_threads())}, rounds=2, warmup=0, threads=3)
    assert seen == [3, 3]
    with pytest.raises(ZeroDivisionError):
        measure_latency({"a": lambda: seen.append(1 // 0)}, rounds=1, threads=3)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"warmup": -1}, {"threads": 0}])
def test_wrong_numbers_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is {next(iter(wrong.values()))}"):
        measure_latency({}, **wrong)


def test_torch_runs_one_fused_image_without_gradients(tiny_model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    fused = deployed_copy(tiny_model)
    fused.register_forward_pre_hook(lambda _, given: seen.append((given[0], torch.is_grad_enabled())))
    monkeypatch.setattr(measure, "deployed_copy", lambda _: fused)
    torch_runner(tiny_model, 70)()
    assert tuple(seen[0][0].shape) == (1, 3, 96, 96)
    assert not seen[0][1]
    assert not fused.training
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())


def test_the_fused_copy_computes_the_same(tiny_model: nn.Module) -> None:
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(deployed_copy(tiny_model)(image)[0], tiny_model(image)[0], atol=1e-4)


@needs_onnx
def test_onnx_computes_the_same_for_one_image(tiny_model: nn.Module, tmp_path: Path) -> None:
    session = onnx_session._session(onnx_session.export_onnx(tiny_model, 90, tmp_path), 2)
    assert session.get_inputs()[0].shape == [1, 3, 96, 96]
    assert session.get_session_options().intra_op_num_threads == 2
    assert session.get_providers() == ["CPUExecutionProvider"]
    image = np.random.default_rng(1).random((1, 3, 96, 96), dtype=np.float32)
    with torch.no_grad():
        expected = deployed_copy(tiny_model)(torch.from_numpy(image))[0].numpy()
    np.testing.assert_allclose(session.run(None, {"images": image})[0], expected, atol=2e-3)


@needs_onnx
def test_onnx_keeps_an_end_to_end_head(tmp_path: Path) -> None:
    model = DetectionModel("yolov10n.yaml", nc=3, verbose=False)
    session = onnx_session._session(onnx_session.export_onnx(model, 64, tmp_path), 1)
    assert session.get_outputs()[0].shape == [1, 84, 6]  # boxes after the head's own selection, not (1, 4 + 3, 84)


@needs_onnx
def test_onnx_is_quiet_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any, make_weights: Any
) -> None:
    from kd_yolo.yolo.files.loading import load_checkpoint

    path = Path(make_weights("tiny8"))
    beside = sorted(path.parent.iterdir())
    monkeypatch.chdir(tmp_path)
    dict.__setitem__(SETTINGS, "openvino_msg", True)
    monkeypatch.setattr(type(SETTINGS), "_save", lambda _: pytest.fail("the user's settings file was written"))
    model, _ = load_checkpoint(path)
    onnx_runner(model, 64, 1)()
    assert SETTINGS["openvino_msg"] is True
    assert model.pt_path == str(path)
    assert sorted(path.parent.iterdir()) == beside
    assert list(tmp_path.iterdir()) == []
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


def test_missing_onnx_runtime_is_exit_5(tiny_model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"needs onnxruntime, .*: pip install 'onnxruntime'") as error:
        onnx_runner(tiny_model, 64, 1)
    assert error.value.exit_code == 5
