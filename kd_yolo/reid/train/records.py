"""What a run leaves beside its weights: ``results.csv``, ``metrics.json``, ``args.yaml``, ``run.json`` and curves."""

from __future__ import annotations

import csv
import io
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kd_yolo.base.figure import write_figure
from kd_yolo.base.files import write_json, write_text
from kd_yolo.base.palette import LINES
from kd_yolo.base.version import __version__
from kd_yolo.reid.settings import ReIDConfig

Row = dict[str, float]
PACKAGES = ("torch", "torchvision", "numpy")


class Records:
    """The rows of ``results.csv``, one per epoch; a resumed run continues where its checkpoint stands.

    Args:
        folder: of the run.
        rows: those of the epochs that are done.
    """

    def __init__(self, folder: Path, rows: list[Row] | None = None) -> None:
        self.folder = folder
        self.rows = list(rows or [])

    def add(self, row: Row) -> None:
        """Adds an epoch and rewrites the file."""
        self.rows.append(row)
        keys = list(dict.fromkeys(key for each in self.rows for key in each))
        text = io.StringIO()
        writer = csv.DictWriter(text, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in each.items()} for each in self.rows)
        write_text(self.folder / "results.csv", text.getvalue())

    def draw(self) -> Path:
        """Draws ``results.png``: losses, accuracy on the batch and learning rate, ranking on held-out identities."""
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        groups = {
            "loss": [key for key in self._keys() if key.startswith("train/")],
            "share of the batch that is classified right": ["accuracy"],
            "held-out identities": [key for key in self._keys() if key.startswith("val/")],
        }
        for axis, (title, keys) in zip(figure.subplots(1, 3), groups.items(), strict=True):
            for color, key in zip(LINES * len(keys), keys, strict=False):
                pairs = [(row["epoch"], row[key]) for row in self.rows if key in row]
                axis.plot(*zip(*pairs, strict=True), color=color, linewidth=1.4, label=key.rpartition("/")[2])
            axis.set_title(title, loc="left", fontsize=10)
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(alpha=0.3)
            if keys:
                axis.legend(fontsize=8, frameon=False)
        return write_figure(self.folder / "results.png", figure)

    def _keys(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows for key in row))


def write_settings(folder: Path, config: ReIDConfig, facts: dict[str, Any]) -> None:
    """Writes ``args.yaml``, all settings, and ``run.json``: versions, the data's hash and counts.

    Args:
        folder: of the run.
        config: resolved.
        facts: plain values on data and network.
    """
    write_text(folder / "args.yaml", yaml.safe_dump(config.to_show(), sort_keys=False))
    versions = {name: metadata.version(name) for name in PACKAGES}
    values = {"kd_yolo": __version__, "python": platform.python_version(), **versions, **facts}
    write_json(folder / "run.json", values)


def write_metrics(folder: Path, metrics: dict[str, Any], name: str = "metrics.json") -> Path:
    """Writes metrics as JSON."""
    return write_json(folder / name, metrics)
