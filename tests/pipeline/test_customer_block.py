"""The customer's ``__main__`` block, called as his article calls it, from start to end on built-in diagrams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from ultralytics import YOLO

from kd_yolo import PruneModel
from kd_yolo.builtin.diagram_set import make_diagram
from kd_yolo.report.comparison import Comparison
from kd_yolo.yolo.files.pruned_file import is_pruned

TINY: dict[str, Any] = {
    "imgsz": 64, "batch": 4, "epochs": 1, "device": "cpu", "workers": 0, "plots": False, "verbose": False,
    "val": False, "fraction": 0.5,
}  # fmt: skip
YAML = """
nc: 5
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, C2f, [32, True]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[3, 4], 1, Detect, [nc]]
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, make_weights: Any) -> Iterator[Path]:
    """A folder as the customer's: weights, diagrams, nothing else."""
    folder = tmp_path_factory.mktemp("customer")
    make_diagram(folder / "datasets" / "diagram", "smoke")
    (folder / "weights").mkdir()
    (folder / "tiny.yaml").write_text(YAML)
    Path(make_weights(str(folder / "tiny.yaml"), 5)).rename(folder / "weights" / "yolov8n.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def model(here: Path) -> PruneModel:
    """After the article's block."""
    model = PruneModel(weights="weights/yolov8n.pt", data_path="datasets/diagram/data.yaml", **TINY)
    model.sparse_train("weights/sparse.pt")
    model.prune(factor=0.2, save_dir="weights/prune.pt")
    model.train("weights/retrain.pt")
    model.distill("weights/sparse.pt", "mgd", "weights/distill.pt")
    return model


def test_every_file_that_was_named_is_there(model: PruneModel) -> None:
    files = [f"weights/{name}.pt" for name in ("sparse", "prune", "retrain", "distill")]
    sizes = [sum(p.numel() for p in YOLO(file).model.parameters()) for file in files]
    assert sizes[0] > sizes[1] == sizes[2] == sizes[3]
    assert [is_pruned(YOLO(file).model) for file in files] == [False, True, True, True]
    steps = model.state.finished
    assert [step.stage for step in steps] == ["sparse", "prune", "retrain", "distill"]
    for file, step in zip(files, steps, strict=True):
        assert Path(file).read_bytes() == step.path.read_bytes()
    assert "train/kd_mgd" in (model.folder / "distill" / "results.csv").read_text()
    assert not list(Path().rglob("*.part"))


def test_export(model: PruneModel) -> None:
    made = model.export(simplify=False)
    shape = onnx.load(str(made), load_external_data=False).graph.input[0].type.tensor_type.shape
    assert [side.dim_value for side in shape.dim] == [1, 3, 64, 64]
    assert not list(Path(model.weights).parent.glob("*.onnx"))


def test_predict_and_evaluate(model: PruneModel, caplog: pytest.LogCaptureFixture) -> None:
    images = sorted(Path("datasets/diagram/images/val").iterdir())[:2]
    drawn = model.predict(images)
    assert [file.stem for file in drawn] == [image.stem for image in images]
    assert all(file.is_file() for file in drawn)
    assert model.predict(str(images[0])) == drawn[:1]
    report = model.evaluate("datasets/diagram", conf=0.01)
    assert str(report) in caplog.text


def test_compare_prints_its_table(model: PruneModel, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"weights/{name}.pt" for name in ("sparse", "prune", "distill")]
    found = PruneModel.compare(files, data_path="datasets/diagram/data.yaml", imgsz=64, rounds=1)
    printed = capsys.readouterr().out
    assert isinstance(found, Comparison)
    for text in (printed, str(found)):
        assert [
            w for w in ("layers", "params", "GFLOPs", "mAP50-95", "p50", "sparse", "distill") if w not in text
        ] == []
    assert printed.split() == str(found).split()
    assert len(str(found).splitlines()) > 4
    assert len(repr(found)) < 200
    alone = PruneModel.compare("weights/prune.pt", imgsz=64, rounds=1)
    assert [row.name for row in alone.rows] == ["prune"]


def test_the_same_block_again_trains_nothing(model: PruneModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_yolo.pipeline.stages.train_stage", lambda *_, **__: pytest.fail("trained"))
    again = PruneModel(
        weights="weights/yolov8n.pt", data_path="datasets/diagram/data.yaml", folder=model.folder, **TINY
    )
    Path("weights/sparse.pt").unlink()
    again.sparse_train("weights/sparse.pt")
    assert Path("weights/sparse.pt").is_file()
