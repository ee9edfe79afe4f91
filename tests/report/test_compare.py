"""Rows hold what was measured, in the order given; what cannot stand in one table is refused before measuring."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ultralytics.nn.tasks import SegmentationModel

from kd_yolo.base.errors import ConfigError, InputError, MissingDependencyError
from kd_yolo.report import compare as module
from kd_yolo.report.compare import Comparison, compare, short_names
from kd_yolo.yolo.evaluate import validate
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.saving import save_atomically
from kd_yolo.yolo.measure import measure_size

QUICK: dict[str, Any] = {"imgsz": 64, "rounds": 2, "batch": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def pair(make_weights: Any) -> list[str]:
    return [make_weights("tiny32"), make_weights("tiny8")]


@pytest.fixture(scope="module")
def result(pair: list[str], tiny_data: Path) -> Comparison:
    return compare(pair, data=str(tiny_data), **QUICK)


def write_segmenter(path: Path, yaml: str, classes: int) -> Path:
    model: Any = SegmentationModel(yaml, nc=classes, verbose=False)
    model.task = "segment"  # every trained checkpoint says it
    return save_atomically({"model": model}, path)


def test_rows_hold_what_each_measurement_gives(result: Comparison, pair: list[str], tiny_data: Path) -> None:
    assert [row.name for row in result.rows] == ["tiny32-2-0", "tiny8-2-0"]
    for row, path in zip(result.rows, pair, strict=True):
        assert row.size == measure_size(load_checkpoint(path)[0], 64)
        assert row.file_bytes == Path(path).stat().st_size
        found = validate(path, tiny_data, imgsz=64, batch=4, device="cpu")
        assert row.scores == {"mAP50": found["metrics/mAP50(B)"], "mAP50-95": found["metrics/mAP50-95(B)"]}
        assert 0 < row.latency.p50_ms <= row.latency.p90_ms


def test_what_is_left_is_counted_from_the_first(result: Comparison) -> None:
    first, second = result.records()
    assert (
        first["parameters_remain_percent"] == first["gflops_remain_percent"] == first["latency_remain_percent"] == 100
    )
    assert second["parameters_remain_percent"] == pytest.approx(100 * second["parameters"] / first["parameters"])
    assert second["gflops_remain_percent"] == pytest.approx(100 * second["gflops"] / first["gflops"])
    assert second["latency_remain_percent"] == pytest.approx(100 * second["p50_ms"] / first["p50_ms"])
    assert 35 < second["parameters_remain_percent"] < 50


def test_without_data_accuracy_is_left_out_and_said(pair: list[str]) -> None:
    result = compare(pair[:1], **QUICK)
    assert result.rows[0].scores == {}
    assert "no data=: accuracy was not measured" in result.notes
    assert "mAP" not in result.to_csv() + result.to_markdown()


def test_several_tasks_and_class_lists_without_data(pair: list[str], tiny_yaml: Any, tmp_path: Path) -> None:
    segment = write_segmenter(tmp_path / "s.pt", tiny_yaml(8, 3, "Segment"), classes=3)
    result = compare([pair[1], segment], **QUICK)
    assert [row.task for row in result.rows] == ["detect", "segment"]
    assert "s is a segment model, tiny8-2-0 a detect model" in result.notes
    assert "s and tiny8-2-0 do not know the same classes (3 and 2)" in result.notes


def test_end_to_end_heads_are_explained(make_weights: Any, tiny_yaml: Any) -> None:
    notes = compare([make_weights(tiny_yaml(8, 2, "v10Detect"))], **QUICK).notes
    assert any(
        "tiny8-2-v10Detect-2-0: latency and the deployed_ columns are of the end-to-end branch" in note
        for note in notes
    )


def test_other_class_names_than_the_datas_are_said(pair: list[str], tmp_path: Path) -> None:
    from tests.conftest import write_tiny_data

    data = write_tiny_data(tmp_path / "data", images=2)
    data.write_text(data.read_text().replace("c1", "bicycle"))
    result = compare(pair[1:], data=str(data), **QUICK)
    assert "tiny8-2-0: as many classes as the data, but not the same names" in result.notes


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_the_runtime_and_its_threads_reach_the_runner(
    runtime: str, pair: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(module, "onnx_runner", lambda _, imgsz, threads: lambda: seen.append(("onnx", imgsz, threads)))
    monkeypatch.setattr(module, "torch_runner", lambda _, imgsz: lambda: seen.append(("torch", imgsz)))
    monkeypatch.setattr(module, "require_onnx", lambda: None)
    compare(pair[:1], **{**QUICK, "rounds": 3}, runtime=runtime, threads=2)
    assert set(seen) == {("onnx", 64, 2) if runtime == "onnx" else ("torch", 64)}
    assert len(seen) == 5 + 3  # warm-up and rounds


def test_untrusted_files_stay_untrusted(pair: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def load(path: Path, *, trust: bool) -> Any:
        seen.append(trust)
        return load_checkpoint(path)

    monkeypatch.setattr(module, "load_checkpoint", load)
    compare(pair[1:], **QUICK)
    compare(pair[1:], **QUICK, trust_weights=True)
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"imgs": 64}, "unknown key 'imgs'. Did you mean 'imgsz'?"),
        ({"rounds": 0}, "rounds: Input should be greater than or equal to 1"),
        ({"runtime": "tensorrt"}, "runtime: Input should be 'torch' or 'onnx'"),
    ],
)
def test_wrong_settings_are_exit_2(settings: dict[str, Any], message: str, pair: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        compare(pair, **settings)
    assert message in str(error.value)


def refusal(weights: list[Any], **settings: Any) -> Exception:
    """What is raised, while nothing has been measured yet."""
    said: list[str] = []
    with pytest.raises((ConfigError, InputError, MissingDependencyError)) as error:
        compare(weights, say=said.append, **QUICK, **settings)
    assert said == []
    return error.value


def test_weights_that_cannot_be_compared(pair: list[str], tmp_path: Path) -> None:
    assert "nothing to compare" in str(refusal([]))
    assert "none.pt' do not exist" in str(refusal([pair[0], tmp_path / "none.pt"]))
    assert "is given more than once" in str(refusal([pair[0], pair[1], pair[0]]))
    link = tmp_path / "link.pt"
    link.symlink_to(pair[0])
    assert "is given more than once" in str(refusal([pair[0], link]))
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    assert "a.onnx is an ONNX export, whose layers cannot be counted" in str(refusal([tmp_path / "a.onnx"]))
    (tmp_path / "b.pt").write_bytes(b"not a checkpoint")
    assert "b.pt is not a PyTorch checkpoint" in str(refusal([pair[0], tmp_path / "b.pt"]))


def test_data_that_does_not_fit(pair: list[str], make_weights: Any, tiny_data: Path, tmp_path: Path) -> None:
    assert "does not exist" in str(refusal(pair, data=str(tmp_path / "none.yaml")))
    three = make_weights("tiny8", classes=3)
    assert "tiny8-3-0.pt has 3 classes" in str(refusal([pair[0], three], data=str(tiny_data)))
    assert "no images in its split 'test'" in str(refusal(pair, data=str(tiny_data), split="test"))


def test_one_data_set_cannot_measure_two_tasks(
    pair: list[str], tiny_data: Path, tiny_yaml: Any, tmp_path: Path
) -> None:
    segment = write_segmenter(tmp_path / "s.pt", tiny_yaml(8, 2, "Segment"), classes=2)
    message = str(refusal([pair[1], segment], data=str(tiny_data)))
    assert "tiny8-2-0 (detect), s (segment)" in message


def test_missing_onnx_runtime_is_found_first(pair: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from kd_yolo.yolo import onnx_session

    monkeypatch.setattr(onnx_session, "NEEDED", ("onnx", "no_such_runtime"))
    error = refusal(pair, runtime="onnx")
    assert isinstance(error, MissingDependencyError)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.pt", "b.pt"], ["a", "b"]),
        (["r/a/weights/best.pt", "r/b/weights/best.pt", "c.pt"], ["a/best", "b/best", "c"]),
        (["r/a/x/best.pt", "r/b/x/best.pt"], ["a/x/best", "b/x/best"]),
        (["/w/a/best.pt", "/w/a/weights/best.pt"], ["a/best", "weights/best"]),
        (["/best.pt", "/a/best.pt"], ["//best", "a/best"]),
        (["/w/a.pt", "/w/a.pth"], ["/w/a.pt", "/w/a.pth"]),
    ],
)
def test_names_tell_files_apart(files: list[str], names: list[str]) -> None:
    assert short_names([Path(file) for file in files]) == names


def test_two_files_of_one_name(pair: list[str], tmp_path: Path) -> None:
    copies = []
    for run in ("one", "two"):
        copies.append(tmp_path / run / "weights" / "best.pt")
        copies[-1].parent.mkdir(parents=True)
        shutil.copyfile(pair[1], copies[-1])
    assert [row.name for row in compare(copies, **QUICK).rows] == ["one/best", "two/best"]
