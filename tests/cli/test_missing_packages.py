"""Each command without the optional package that it needs: exit 5, one line, the install line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import kd_yolo.cli
from kd_yolo.base.errors import MissingDependencyError
from kd_yolo.cli.app import main
from kd_yolo.reid.model.checkpoint import Checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import NetworkConfig
from kd_yolo.yolo.export_formats import NEEDS, require_format


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = ReIDModel(NetworkConfig(backbone="resnet18", height=64, width=32, num_identities=2))
    return save_checkpoint(
        tmp_path_factory.mktemp("net") / "best.pt", Checkpoint(model.config, model.state_dict(), [1, 2])
    )


COMMANDS: dict[str, tuple[str, str]] = {
    "openvino": ("reid export --weights {weights} --format openvino", "openvino"),
    "onnxruntime": ("reid export --weights {weights}", "onnxruntime"),
    "timm": ("reid train backbone=timm:mobilenetv3_small_050 pretrained=none data={crops} device=cpu", "reid"),
    "gradio": ("search serve --gallery {gallery}", "ui"),
    "ray": ("crops {frames} --engine ray", "ray"),
    "polars": ("crops {frames}", "search"),
    "modelopt": ("distill --teacher {weights} data={frames} quantize=8", "qat"),
    "huggingface_hub": ("retrain --model {weights} data={frames} quantize=8", "qat"),
}


@pytest.mark.parametrize("module", COMMANDS)
def test_exit_5_with_the_install_line(
    module: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from kd_yolo.builtin.crops_set import make_crops

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kd_yolo.cli.run._fail_unforeseen", lambda error: pytest.fail(repr(error)))
    monkeypatch.setitem(sys.modules, module, None)
    words, extra = COMMANDS[module]
    crops = make_crops(tmp_path / "crops", "smoke").folder if "{crops}" in words else None
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    line = words.format(weights=weights, crops=crops, gallery=gallery, frames=weights)
    code = main(line.split())
    said = capsys.readouterr().err
    assert code == 5, said
    expected = "onnxruntime" if extra == "onnxruntime" else f"kd-yolo[{extra}]"
    assert f"pip install '{expected}'" in said
    assert said.strip().count("\n") == 0


@pytest.mark.parametrize("module", ["numba", "scipy"])
def test_evaluation_without_its_packages(
    module: str, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """All of ReID is imported again, as in a new process: the compiled kernels are imported once."""
    for package in (kd_yolo, kd_yolo.cli):
        monkeypatch.setattr(package, "reid", getattr(package, "reid", None), raising=False)
    for name in [name for name in sys.modules if name.startswith(("kd_yolo.reid", "kd_yolo.cli.reid"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["reid", "test", "--weights", str(weights), "data=nowhere"]) == 5
    assert capsys.readouterr().err.count("pip install 'kd-yolo[reid]'") == 1


@pytest.mark.parametrize("kind", [kind for kind, modules in NEEDS.items() if modules])
def test_export_formats_ask_before_they_begin(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NEEDS[kind]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"^export to {kind} needs .*pip install '"):
        require_format(kind)


def test_every_format_of_ultralytics_is_in_the_table() -> None:
    from ultralytics.engine.exporter import export_formats

    assert set(export_formats()["Argument"]) - {"-"} <= set(NEEDS)
    assert torch.__version__  # ultralytics imported it
