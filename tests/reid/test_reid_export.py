"""Exports give PyTorch's embeddings in the runtime, at any batch size, without the classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.reid import export as exporting
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import NetworkConfig


@pytest.fixture(scope="module")
def model() -> ReIDModel:
    torch.manual_seed(0)
    return ReIDModel(NetworkConfig(backbone="resnet18_ibn_a", num_identities=5, height=64, width=32)).eval()


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_parity(model: ReIDModel, tmp_path: Path, kind: str) -> None:
    target, difference = exporting.export(model, tmp_path / "best.pt", kind)
    assert target.is_file()
    assert difference < 1e-5
    assert not model.training


def test_onnx_takes_any_batch_and_has_no_classifier(model: ReIDModel, tmp_path: Path) -> None:
    target, _ = exporting.export(model, tmp_path / "best.pt", "onnx")
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [3, 64, 32]
    crops = np.random.default_rng(0).random((3, 3, 64, 32), np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: crops})
    assert found.shape == (3, model.dim)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert target.stat().st_size < 4.3 * sum(p.numel() for p in model.backbone.parameters()) + 2e5


def test_another_result_is_an_error(model: ReIDModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, open_ = exporting.WRITERS["onnx"]
    monkeypatch.setitem(exporting.WRITERS, "onnx", (write, lambda target: lambda crops: open_(target)(crops) * 1.01))
    with pytest.raises(KDYoloError, match=r"gives embeddings that differ by .* do not use it"):
        exporting.export(model, tmp_path / "best.pt", "onnx")


def test_unknown_format(model: ReIDModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown format 'onxx'. Did you mean 'onnx'"):
        exporting.export(model, tmp_path / "best.pt", "onxx")
