"""The images show the numbers that they were given."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from kd_yolo.base.errors import ConfigError
from kd_yolo.prune import plots as prune_plots
from kd_yolo.prune.plots import (
    AFTER,
    BEFORE,
    ROW_LAYERS,
    ZERO,
    draw_channels,
    draw_gammas,
    draw_timeline,
    gamma_percent,
    zero_lines,
)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, which are written too."""
    seen: list[Figure] = []
    write = prune_plots.write_figure

    def keep(path: Path, figure: Figure) -> Path:
        seen.append(figure)
        return write(path, figure)

    monkeypatch.setattr(prune_plots, "write_figure", keep)
    return seen


def bars(axis: object, colour: str) -> list[float]:
    return [patch.get_height() for patch in axis.patches if to_hex(patch.get_facecolor()) == colour.lower()]


def test_channels_in_network_order(tmp_path: Path, figures: list[Figure]) -> None:
    before = {"model.9.conv": 64, "model.10.m.0.cv1.conv": 32, "model.22.cv3.0.2": 80}
    path = draw_channels(
        before, {"model.22.cv3.0.2": 80, "model.10.m.0.cv1.conv": 8, "model.9.conv": 48}, tmp_path / "c.png"
    )
    (axis,) = figures[0].axes
    assert path == tmp_path / "c.png"
    assert bars(axis, BEFORE) == [64, 32, 80]
    assert bars(axis, AFTER) == [48, 8, 80]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["9", "10.m.0.cv1", "22.cv3.0.2"]
    assert [text.get_text() for text in axis.texts] == ["75", "25", ""]
    assert "136 of 176 channels left in 3 layers, 77%" in axis.get_title(loc="left")


@pytest.mark.parametrize("num_layers", [1, ROW_LAYERS, ROW_LAYERS + 1, 151])
def test_many_layers_take_several_rows(num_layers: int, tmp_path: Path, figures: list[Figure]) -> None:
    before = {f"model.{i}.conv": 64 for i in range(num_layers)}
    draw_channels(before, {name: 32 for name in before}, tmp_path / "c.png")
    lengths = [len(axis.get_xticks()) for axis in figures[0].axes]
    assert sum(lengths) == num_layers
    assert max(lengths) <= ROW_LAYERS
    assert max(lengths) - min(lengths) < len(lengths) + 1
    figure = figures[0]
    for axis in figure.axes:  # names do not run into each other
        boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
        assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(boxes))
    assert cv2.imread(str(tmp_path / "c.png")).shape[1] < 2200


def test_channels_of_other_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not of the same layers"):
        draw_channels({"a": 1}, {"b": 1}, tmp_path / "c.png")
    with pytest.raises(ConfigError, match="not of the same layers"):
        draw_channels({}, {}, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_gamma_shares() -> None:
    values = np.array([0.0, 0.0, 0.005, 0.05, 0.5, 1.0, 1.5, 9.0])
    edges = np.array([0.0, 1.0, 2.0])
    assert gamma_percent(values, edges).tolist() == [37.5, 37.5]  # zeros left out, 9.0 in the last bin
    assert zero_lines(values) == ["25.0% are exactly 0", "37.5% are below 0.01", "50.0% are below 0.1"]


def test_gammas_on_one_scale(tmp_path: Path, figures: list[Figure]) -> None:
    dense = np.linspace(-2, 2, 401)[np.arange(401) != 200]
    draw_gammas({"before": dense, "after": np.where(np.abs(dense) < 1, 0, dense)}, tmp_path / "g.png")
    before, after = figures[0].axes
    assert before.get_xlim() == after.get_xlim()
    assert before.get_ylim() == after.get_ylim()
    assert sum(bars(before, AFTER)) == pytest.approx(100)
    assert sum(bars(after, AFTER)) == pytest.approx(50.5)
    assert bars(before, ZERO) == [0]
    assert bars(after, ZERO) == [pytest.approx(49.5)]
    assert "49.5% are exactly 0" in after.texts[0].get_text()
    assert [axis.get_title(loc="left") for axis in (before, after)] == ["before", "after"]


def test_gammas_that_are_all_zero_or_none(tmp_path: Path, figures: list[Figure]) -> None:
    draw_gammas({"after": np.zeros((4, 3))}, tmp_path / "g.png")
    assert bars(figures[0].axes[0], ZERO) == [100]
    for nothing in ({}, {"after": np.zeros(0)}):
        with pytest.raises(ConfigError, match="no gammas to draw"):
            draw_gammas(nothing, tmp_path / "h.png")


def test_timeline(tmp_path: Path, figures: list[Figure]) -> None:
    draw_timeline([("base", 0.574), ("pruned", 0.012), ("distilled", 0.58)], tmp_path / "t.png")
    (axis,) = figures[0].axes
    assert [patch.get_height() for patch in axis.patches] == [0.574, 0.012, 0.58]
    assert [text.get_text() for text in axis.texts] == ["0.574", "0.012\n(-0.562)", "0.580\n(+0.006)"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["base", "pruned", "distilled"]
    assert axis.lines[0].get_ydata()[0] == 0.574
    with pytest.raises(ConfigError, match="no stages"):
        draw_timeline([], tmp_path / "t.png")


def test_the_plotting_state_of_the_process_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys, matplotlib; matplotlib.use('svg')\n"
        "from kd_yolo.prune.plots import draw_timeline\n"
        f"draw_timeline([('base', 0.5)], {str(tmp_path / 't.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'ultralytics' not in sys.modules\n"
        "assert matplotlib.get_backend() == 'svg', matplotlib.get_backend()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])
    assert cv2.imread(str(tmp_path / "t.png")) is not None
