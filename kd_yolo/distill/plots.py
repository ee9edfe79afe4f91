"""The image of a distillation run: its terms, their share of loss and gradient, and the accuracy, by epoch."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kd_yolo.base.columns import read_columns
from kd_yolo.base.figure import write_figure
from kd_yolo.base.palette import LINES
from kd_yolo.distill.balance import WARN_ABOVE
from kd_yolo.distill.scores import measured_teachers


def draw_distillation(folder: Path) -> Path:
    """Draws ``distillation.png`` from a run's ``results.csv`` and ``balance.csv``.

    Args:
        folder: the run's folder.

    Returns:
        The image.
    """
    results, balance = read_columns(folder / "results.csv"), read_columns(folder / "balance.csv")
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    terms, shares, accuracy = figure.subplots(1, 3)
    epochs = results["epoch"]
    for i, key in enumerate(k for k in results if k.startswith("train/kd_")):
        _line(terms, epochs, results[key], key.removeprefix("train/"), LINES[i % len(LINES)])
    terms.set_yscale("log" if any(min(line.get_ydata()) > 0 for line in terms.lines) else "linear")
    terms.set_title("weighted terms", loc="left", fontsize=10)
    for i, (key, label) in enumerate((("loss_share", "of the loss"), ("gradient_share", "of the gradient"))):
        _line(shares, balance["epoch"], [100 * x for x in balance[key]], label, LINES[i])
        shares.axhline(100 * WARN_ABOVE[key], color=LINES[i], linewidth=1, linestyle="--")
    shares.set_ylim(0, 100)
    shares.set_title("share of distillation, %", loc="left", fontsize=10)
    for i, key in enumerate(("metrics/mAP50(B)", "metrics/mAP50-95(B)")):
        _line(accuracy, epochs, results[key], key.removeprefix("metrics/").removesuffix("(B)"), LINES[i])
    for i, (name, score) in enumerate(measured_teachers(folder).items()):
        accuracy.axhline(score.all, color=LINES[2 + i % 2], linestyle="--", linewidth=1, label=f"{name[:24]}, mAP50-95")
    alone = folder / "alone" / "results.csv"
    if found := read_columns(alone):
        _line(accuracy, found["epoch"], found["metrics/mAP50-95(B)"], "alone, mAP50-95", LINES[4])
    accuracy.set_title("accuracy on val", loc="left", fontsize=10)
    for axis in (terms, shares, accuracy):
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False)
    return write_figure(folder / "distillation.png", figure)


def _line(axis: Axes, epochs: list[float], values: list[float], label: str, color: str) -> None:
    axis.plot(epochs, values, marker="o", markersize=3, linewidth=1.4, label=label, color=color)
