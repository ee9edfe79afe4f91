"""The table of a network in float and in INT8: each form in its own runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.config.pipeline import PipelineConfig
from kd_yolo.pipeline.chain import run_chain
from kd_yolo.report import int8
from kd_yolo.report.int8 import AFTER, AWARE, FLOAT, ONNX, OPENVINO, Form, Int8Table, has_fast_int8
from kd_yolo.yolo.measure import Latency


def test_a_runtime_that_does_not_take_a_form_has_empty_cells(tmp_path: Path, capsys: Any) -> None:
    forms = []
    for size, name in enumerate((FLOAT, AFTER, AWARE), 1):
        (tmp_path / name).write_bytes(b"x" * size * 100_000)
        times, scores = {ONNX: Latency(size, 2 * size)}, {ONNX: size / 10}
        if name != AFTER:
            times, scores = {**times, OPENVINO: Latency(5, 6)}, {**scores, OPENVINO: 0.5}
        forms.append(Form(name, tmp_path / name, scores, times))
    table = Int8Table(tuple(forms), "160 px", ("a note",))
    table.write(tmp_path)
    header, _, first, second, _, _, caption, note = (tmp_path / "int8.md").read_text().splitlines()
    assert header.count("|") == first.count("|") == second.count("|") == 9
    assert first == "| float | 0.1 | 0.1000 | 1.00 | 2.00 | 0.5000 | 5.00 | 6.00 |"
    assert second == "| INT8 after training | 0.2 | 0.2000 | 2.00 | 4.00 |  |  |  |"
    assert (caption, note) == ("- 160 px", "- a note")
    rows = json.loads((tmp_path / "int8.json").read_text())["rows"]
    assert [row["mAP50-95"].get(OPENVINO) for row in rows] == [0.5, None, 0.5]
    assert [row["file"] for row in rows] == [FLOAT, AFTER, AWARE]
    table.print()
    assert "INT8 aware" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu sse avx512f", False), ("fpu avx_vnni", True), ("Features : asimddp", True)]
)
def test_what_the_cpu_says(tmp_path: Path, flags: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    assert has_fast_int8(tmp_path / "cpuinfo") is expected
    assert has_fast_int8(tmp_path / "none")


@pytest.mark.slow
def test_a_chain_with_the_stage_qat(
    tiny_data: Path, make_weights: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("modelopt", reason="needs the extra qat")
    monkeypatch.setattr(int8, "is_installed", lambda name: name != "openvino")
    train = {"imgsz": 64, "batch": 4, "device": "cpu", "workers": 0, "plots": False, "verbose": False}
    recipe = {
        "model": make_weights("tiny32"), "data": str(tiny_data), "train": train, "prune": {"factor": 0.3},
        "retrain": {"epochs": 1}, "distill": None, "qat": {"epochs": 1, "loss": "bkd"}, "compare": {"rounds": 1},
    }  # fmt: skip
    done = run_chain(PipelineConfig.parse(recipe, "test"), tmp_path / "run")
    assert [step.stage for step in done.steps] == ["prune", "retrain", "qat"]
    assert done.int8 is not None
    assert [form.name for form in done.int8.forms] == [FLOAT, AFTER, AWARE]
    assert all(0 <= form.scores[ONNX] <= 1 and form.latency[ONNX].p50_ms > 0 for form in done.int8.forms)
    sizes = [form.file.stat().st_size for form in done.int8.forms]
    assert sizes[1] < sizes[0]
    assert (done.folder / "int8.json").is_file()
    assert done.table is not None
    assert any("which PyTorch only imitates" in note for note in done.table.notes)
    assert any("pip install 'kd-yolo[openvino]'" in note for note in done.int8.notes)


@pytest.mark.slow
def test_openvino_runs_what_was_exported(make_weights: Callable[..., str], tmp_path: Path) -> None:
    """Raw outputs of the ONNX file in both runtimes are the same."""
    openvino, onnxruntime = (pytest.importorskip(name) for name in ("openvino", "onnxruntime"))
    import numpy as np

    from kd_yolo.yolo.export import export_model
    from kd_yolo.yolo.openvino_model import convert_onnx

    file = export_model(make_weights("tiny8"), "onnx", tmp_path, {"imgsz": 64})
    image = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: image})
    compiled = openvino.Core().compile_model(next(convert_onnx(file).glob("*.xml")), "CPU")
    np.testing.assert_allclose(next(iter(compiled(image).values())), expected, rtol=1e-2, atol=1e-2)
