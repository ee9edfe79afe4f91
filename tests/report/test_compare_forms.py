"""The table as CSV, Markdown, JSON, on the console and as an image."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from matplotlib.figure import Figure

from kd_yolo.config.compare import CompareConfig
from kd_yolo.report import compare_plot
from kd_yolo.report.comparison import Comparison, Row
from kd_yolo.yolo.measure import Latency, Size


def row(name: str, factor: float, score: float | None = None, time_ms: float = 20.0) -> Row:
    size = Size(129, int(3_000_000 * factor), 8 * factor, int(2_900_000 * factor), 7.9 * factor)
    scores = {} if score is None else {"mAP50": score + 0.1, "mAP50-95": score}
    return Row(name, f"runs/{name}.pt", "detect", int(6_000_000 * factor), size, scores, Latency(time_ms, 2 * time_ms))


@pytest.fixture
def result() -> Comparison:
    rows = (row("base", 1, 0.5), row("pruned", 0.25, 0.4321, 5.0))
    return Comparison(rows, CompareConfig(data="d.yaml", imgsz=320, rounds=7, threads=2), ("a note",))


def test_csv_holds_everything_unrounded(result: Comparison, tmp_path: Path) -> None:
    text = result.to_csv(tmp_path / "new" / "x.csv")
    assert (tmp_path / "new" / "x.csv").read_text() == text
    base, pruned = csv.DictReader(io.StringIO(text))
    assert list(base)[:6] == ["name", "weights", "task", "layers", "parameters", "parameters_remain_percent"]
    assert (pruned["name"], pruned["weights"], pruned["task"]) == ("pruned", "runs/pruned.pt", "detect")
    numbers = {
        "layers": 129, "parameters": 750_000, "parameters_remain_percent": 25, "gflops": 2, "gflops_remain_percent": 25,
        "file_mb": 1.5, "mAP50": 0.5321, "mAP50-95": 0.4321, "p50_ms": 5, "p90_ms": 10, "latency_remain_percent": 25,
        "deployed_parameters": 725_000, "deployed_gflops": 1.975,
    }  # fmt: skip
    assert {key: float(value) for key, value in pruned.items() if key in numbers} == pytest.approx(numbers)
    assert len(base) == len(numbers) + 3


def test_json_says_how_it_was_measured(result: Comparison, tmp_path: Path) -> None:
    body = json.loads(result.to_json(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text()) == body
    assert body["config"]["threads"] == 2
    assert body["notes"] == ["a note"]
    assert [entry["name"] for entry in body["rows"]] == ["base", "pruned"]
    assert {"machine", "cores", "python", "torch", "ultralytics", "onnxruntime"} <= set(body["setup"])


def test_markdown_for_people(result: Comparison, tmp_path: Path) -> None:
    lines = result.to_markdown(tmp_path / "x.md").splitlines()
    left = "| weights | layers | params M | left % | GFLOPs | left % | file MB "
    assert lines[0] == left + "| mAP50 | mAP50-95 | p50 ms | p90 ms | left % |"
    assert lines[3] == "| pruned | 129 | 0.75 | 25 | 2.00 | 25 | 1.5 | 0.5321 | 0.4321 | 5.0 | 10.0 | 25 |"
    assert "- a note" in lines
    assert any("320 px" in line and "2 threads, 7 rounds" in line and "val of d.yaml" in line for line in lines)
    named = Comparison((row("a|b", 1),), CompareConfig())
    assert "| a\\|b | 129 |" in named.to_markdown()


def test_models_of_other_tasks_leave_cells_empty() -> None:
    rows = (row("a", 1, 0.5), row("b", 1))
    result = Comparison(rows, CompareConfig())
    assert "| b | 129 | 3.00 | 100 | 8.00 | 100 | 6.0 |  |  | 20.0 |" in result.to_markdown()
    assert next(iter(list(csv.DictReader(io.StringIO(result.to_csv())))[1:]))["mAP50"] == ""


@pytest.mark.parametrize("columns", ["30", "200"])
def test_the_console_never_cuts_numbers(
    columns: str, result: Comparison, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result.print()
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("pruned"))
    assert line.split() == ["pruned", "129", "0.75", "25", "2.00", "25", "1.5", "0.5321", "0.4321", "5.0", "10.0", "25"]
    assert "- a note" in printed
    assert "left %: of base" in printed


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, which are written too."""
    seen: list[Figure] = []
    write = compare_plot.write_figure

    def keep(path: Path, figure: Figure) -> Path:
        seen.append(figure)
        return write(path, figure)

    monkeypatch.setattr(compare_plot, "write_figure", keep)
    return seen


def test_the_image_shows_points_and_bars(result: Comparison, tmp_path: Path, figures: list[Figure]) -> None:
    path = result.plot(tmp_path / "x.png")
    assert cv2.imread(str(path)).shape[1] > 1200
    points, bars = figures[0].axes
    assert sorted((*line.get_xdata(), *line.get_ydata()) for line in points.lines if len(line.get_xdata()) == 1) == [
        (5.0, 0.4321),
        (20.0, 0.5),
    ]
    assert {text.get_text() for text in points.texts} == {"base", "pruned"}
    assert points.get_ylabel() == "mAP50-95"
    assert sorted(round(bar.get_width()) for bar in bars.patches) == [25, 25, 25, 100, 100, 100]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["base", "pruned"]


def test_without_accuracy_there_are_bars_alone(tmp_path: Path, figures: list[Figure]) -> None:
    Comparison((row("a", 1), row("b", 0.5)), CompareConfig()).plot(tmp_path / "x.png")
    Comparison((row("a", 1, 0.3), row("b", 0.5)), CompareConfig()).plot(tmp_path / "x.png")  # another task
    assert [len(figure.axes) for figure in figures] == [1, 1]


def test_labels_do_not_cover_each_other(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [row(f"a-long-name-{i}", 1, 0.5 + 0.002 * i, 20 + 0.02 * i) for i in range(6)]
    rows.append(row("far away", 1, 0.1, 60))
    Comparison(tuple(rows), CompareConfig()).plot(tmp_path / "x.png")
    axis = figures[0].axes[0]
    boxes = [compare_plot._extent(text).padded(-2) for text in axis.texts]  # less what the change of dpi rounds
    assert len(boxes) == 7
    assert all(box.count_overlaps([*boxes[:i], *boxes[i + 1 :]]) == 0 for i, box in enumerate(boxes))


def test_write_makes_all_four(result: Comparison, tmp_path: Path) -> None:
    written = result.write(tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == sorted(path.name for path in written)
    assert {path.suffix for path in written} == {".csv", ".md", ".json", ".png"}
    assert (tmp_path / "folder" / "compare.csv").read_text() == result.to_csv()
