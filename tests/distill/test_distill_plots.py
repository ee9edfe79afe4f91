"""The image of a distillation run shows the columns of its files."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from matplotlib.figure import Figure

from kd_yolo.base.columns import read_columns
from kd_yolo.distill import plots as distill_plots
from kd_yolo.distill.plots import draw_distillation

RESULTS = """epoch,train/box_loss,train/kd_cwd,train/kd_bkd,metrics/mAP50(B),metrics/mAP50-95(B)
1,3.0,0.5,0.02,0.2,0.1
2,2.0,0.4,0.01,0.4,0.3
"""
BALANCE = "epoch,loss_share,gradient_share,weight/kd_cwd\n1,0.1,0.3,\n2,0.2,0.7,1.5\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "results.csv").write_text(RESULTS)
    (tmp_path / "balance.csv").write_text(BALANCE)
    return tmp_path


def test_lines_are_the_columns(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    write = distill_plots.write_figure
    monkeypatch.setattr(distill_plots, "write_figure", lambda path, fig: (figures.append(fig), write(path, fig))[1])
    image = draw_distillation(run)
    assert cv2.imread(str(image)).shape[1] > 1000
    lines = [{str(line.get_label()): list(line.get_ydata()) for line in axis.lines} for axis in figures[0].axes]
    assert lines[0] == {"kd_cwd": [0.5, 0.4], "kd_bkd": [0.02, 0.01]}
    assert lines[1]["of the loss"] == [10, 20]
    assert lines[1]["of the gradient"] == [30, 70]
    assert lines[2] == {"mAP50": [0.2, 0.4], "mAP50-95": [0.1, 0.3]}


def test_empty_cells_are_nan(run: Path) -> None:
    weights = read_columns(run / "balance.csv")["weight/kd_cwd"]
    assert weights[0] != weights[0]
    assert weights[1] == 1.5
