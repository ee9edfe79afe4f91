"""Exports: into a folder of their own, at the chain's size, on the chain's data, and without an install."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from ultralytics.engine.exporter import Exporter

from kd_yolo import PruneModel
from kd_yolo.base.errors import ConfigError, KDYoloError, MissingDependencyError
from kd_yolo.yolo import export as exporting

SMALL = {"imgsz": 64, "device": "cpu"}


@pytest.fixture
def model(make_weights: Callable[..., str], tmp_path: Path) -> PruneModel:
    return PruneModel(make_weights("tiny32"), folder=tmp_path / "run", **SMALL)


def sides(file: Path) -> list[int]:
    shape = onnx.load(str(file), load_external_data=False).graph.input[0].type.tensor_type.shape
    return [dim.dim_value for dim in shape.dim[2:]]


def test_onnx_has_the_size_of_the_chain_and_a_folder_of_its_own(model: PruneModel, capfd: Any) -> None:
    made = model.export(simplify=False)
    assert made == model.folder / "export" / "onnx" / f"{Path(model.weights).stem}.onnx"
    assert sides(made) == [64, 64]
    assert not list(Path(model.weights).parent.glob("*.onnx"))
    printed = "".join(capfd.readouterr())
    assert "ultralytics.com" not in printed
    assert "ProTip" not in printed
    other = model.export(simplify=False, imgsz=96)
    assert sides(other) == [96, 96]
    assert sides(made) == [64, 64]


def test_int8_is_calibrated_on_the_data_of_the_chain(
    model: PruneModel, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def run(_model: Any, beside: Path, arguments: dict[str, Any]) -> Path:
        seen.append({**arguments, "text": Path(arguments["data"]).read_text()})
        (made := beside.with_name("x_int8.onnx")).write_bytes(b"x")
        return made

    monkeypatch.setattr(exporting, "_run", run)
    model._data = str(tiny_data)
    made = model.export("onnx", int8=True)
    assert made.is_file()
    assert seen[0]["imgsz"] == 64
    assert Path(seen[0]["data"]) != tiny_data  # a copy that says where everything is
    assert str(tiny_data.parent) in seen[0]["text"]
    model._data = None
    assert model.export("onnx", quantize=8, data_path=tiny_data)
    assert str(tiny_data.parent) in seen[1]["text"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"format": "onxx"}, ("unknown export format 'onxx'", "Did you mean 'onnx'")),
        ({"format": "paper"}, ("unknown export format 'paper'", "Known: ")),
        ({"format": "pt"}, ("PyTorch format already",)),
        ({"format": ""}, ("unknown export format ''",)),
        ({"format": "onnx", "opsett": 17}, ("no argument 'opsett'", "Did you mean 'opset'")),
        ({"format": "torchscript", "opset": 17}, ("export to 'torchscript' has no argument 'opset'",)),
        ({"format": "onnx", "int8": True}, ("add data=my/data.yaml",)),
        ({"format": "onnx", "quantize": "int8"}, ("add data=my/data.yaml",)),
        ({"format": "onnx", "data": "d.yaml"}, ("looks at data= for INT8 only",)),
        ({"format": "onnx", "quantize": "int9"}, ("int9",)),
        ({"format": "onnx", "imgsz": 0}, ("imgsz",)),
    ],
)
def test_what_is_refused(model: PruneModel, arguments: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        model.export(**arguments)
    assert [part for part in parts if part not in str(error.value)] == [], str(error.value)
    assert len(str(error.value)) < 600
    assert not model.folder.exists()


@pytest.mark.parametrize(
    ("kind", "arguments", "absent", "install"),
    [
        ("openvino", {}, "openvino", "pip install 'kd-yolo[openvino]'"),
        ("openvino", {"int8": True, "data": "d.yaml"}, "nncf", "pip install 'nncf'"),
        ("engine", {}, "tensorrt", "pip install 'tensorrt'"),
        ("rknn", {}, "rknn", "pip install 'rknn-toolkit2'"),
    ],
)
def test_a_package_that_is_not_there(
    model: PruneModel, monkeypatch: pytest.MonkeyPatch, kind: str, arguments: dict[str, Any], absent: str, install: str
) -> None:
    monkeypatch.setattr("kd_yolo.base.extras.is_installed", lambda module: module != absent)
    with pytest.raises(MissingDependencyError) as error:
        model.export(kind, **arguments)
    assert install in str(error.value)
    assert str(error.value).count("pip install") == 1
    assert not model.folder.exists()


def test_a_package_that_only_ultralytics_knows_of(model: PruneModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(_self: Any, **_: Any) -> str:
        raise ModuleNotFoundError("No module named 'strange.inner'", name="strange.inner")

    monkeypatch.setattr(Exporter, "__call__", call)
    with pytest.raises(MissingDependencyError, match="pip install 'strange'"):
        model.export("onnx")
    assert not (model.folder / "export" / "onnx").exists()


def test_a_result_that_is_not_there(model: PruneModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exporter, "__call__", lambda self, **_: "nowhere/x.onnx")
    with pytest.raises(KDYoloError, match=r"nowhere/x\.onnx, and there is nothing"):
        model.export("onnx")
