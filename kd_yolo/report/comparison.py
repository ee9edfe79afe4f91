"""The result of a comparison of weights: rows, and the forms in which they are shown."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from kd_yolo.base.files import write_text
from kd_yolo.config.compare import CompareConfig
from kd_yolo.report.compare_plot import Point, draw_comparison
from kd_yolo.yolo.measure import Latency, Size

VERSIONS = ("torch", "ultralytics", "onnxruntime")


@dataclass(frozen=True)
class Row:
    """One of the weights.

    Attributes:
        name: short, different in every row.
        weights: the file.
        task: detect, segment, pose, obb or classify.
        file_bytes: size of the file.
        size: what is counted.
        scores: accuracy by its name (``mAP50-95``), the deciding one last; empty without data.
        latency: of one image.
    """

    name: str
    weights: str
    task: str
    file_bytes: int
    size: Size
    scores: dict[str, float]
    latency: Latency

    def remain_percent(self, first: Row) -> dict[str, float]:
        """What is left of the first row's parameters, GFLOPs and latency (p50), in percent of it."""
        return {
            "parameters": 100 * (self.size.parameters / first.size.parameters),  # of the first itself exactly 100
            "gflops": 100 * (self.size.gflops / first.size.gflops),
            "latency": 100 * (self.latency.p50_ms / first.latency.p50_ms),
        }


@dataclass(frozen=True)
class Comparison:
    """The rows, the first being what the others are compared with.

    Attributes:
        rows: at least one.
        config: how they were measured.
        notes: what a reader has to know, a sentence each.
    """

    rows: tuple[Row, ...]
    config: CompareConfig
    notes: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """A flat dict a row, the numbers not rounded."""
        return [self._record(row) for row in self.rows]

    def _record(self, row: Row) -> dict[str, Any]:
        remain, size = row.remain_percent(self.rows[0]), row.size
        return {
            "name": row.name,
            "weights": row.weights,
            "task": row.task,
            "layers": size.layers,
            "parameters": size.parameters,
            "parameters_remain_percent": remain["parameters"],
            "gflops": size.gflops,
            "gflops_remain_percent": remain["gflops"],
            "file_mb": row.file_bytes / 1e6,
            **row.scores,
            "p50_ms": row.latency.p50_ms,
            "p90_ms": row.latency.p90_ms,
            "latency_remain_percent": remain["latency"],
            "deployed_parameters": size.deployed_parameters,
            "deployed_gflops": size.deployed_gflops,
        }

    def to_csv(self, path: str | Path | None = None) -> str:
        """All columns as CSV; written if a path is given."""
        records = self.records()
        keys = dict.fromkeys(key for record in records for key in record)  # models of two tasks have other scores
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(keys), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return _text(buffer.getvalue(), path)

    def to_json(self, path: str | Path | None = None) -> str:
        """All columns, how they were measured, and on what, as JSON; written if a path is given."""
        body = {"config": self.config.model_dump(), "setup": setup(), "notes": self.notes, "rows": self.records()}
        return _text(json.dumps(body, indent=1) + "\n", path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The table for people as Markdown; written if a path is given."""
        return _text(markdown(self._cells(), [self.caption(), *self.notes]), path)

    def to_table(self) -> Table:
        """The table for people, for rich."""
        return rich_table(self._cells())

    def print(self) -> None:
        """Prints the table, how it was measured, and the notes."""
        self._show(Console(highlight=False))

    def __str__(self) -> str:
        """What :meth:`print` prints, without colours."""
        buffer = io.StringIO()
        self._show(Console(file=buffer, highlight=False, color_system=None))
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())

    def __repr__(self) -> str:
        names = ", ".join(row.name for row in self.rows)
        return f"<Comparison of {names}; print() shows the table, write(folder) keeps it>"

    def _show(self, console: Console) -> None:
        print_whole(self.to_table(), console)
        for line in (self.caption(), *self.notes):
            console.print(f"- {line}", markup=False, soft_wrap=True)

    def plot(self, path: str | Path) -> Path:
        """Draws accuracy over latency, and bars of what is left of the first row's cost."""
        return draw_comparison(
            [
                Point(row.name, row.latency.p50_ms, row.latency.p90_ms, row.scores, row.remain_percent(self.rows[0]))
                for row in self.rows
            ],
            path,
            caption=self.caption(),
        )

    def write(self, folder: str | Path) -> list[Path]:
        """Writes ``compare.csv``, ``.md``, ``.json`` and ``.png`` into a folder, which is made if needed."""
        base = Path(folder) / "compare"
        self.to_csv(base.with_suffix(".csv"))
        self.to_markdown(base.with_suffix(".md"))
        self.to_json(base.with_suffix(".json"))
        self.plot(base.with_suffix(".png"))
        return [base.with_suffix(suffix) for suffix in (".csv", ".md", ".json", ".png")]

    def caption(self) -> str:
        """How the numbers were measured, in a sentence."""
        config = self.config
        runtime = {"torch": "PyTorch (eager, fused)", "onnx": "ONNX Runtime"}[config.runtime]
        threads = "1 thread" if config.threads == 1 else f"{config.threads} threads"
        data = f"; accuracy on {config.split} of {config.data}" if config.data else ""
        return (
            f"{config.imgsz} px; latency of one image in {runtime} on the CPU, {threads}, {config.rounds} rounds in"
            f" turns{data}; left %: of {self.rows[0].name}"
        )

    def _cells(self) -> list[list[str]]:
        """Header and rows as people read them."""
        scores = list(dict.fromkeys(name for row in self.rows for name in row.scores))
        header = ["weights", "layers", "params M", "left %", "GFLOPs", "left %", "file MB", *scores]
        header += ["p50 ms", "p90 ms", "left %"]
        return [header, *(self._row_cells(row, scores) for row in self.rows)]

    def _row_cells(self, row: Row, scores: list[str]) -> list[str]:
        remain = row.remain_percent(self.rows[0])
        return [
            row.name,
            str(row.size.layers),
            f"{row.size.parameters / 1e6:.2f}",
            f"{remain['parameters']:.0f}",
            f"{row.size.gflops:.2f}",
            f"{remain['gflops']:.0f}",
            f"{row.file_bytes / 1e6:.1f}",
            *(f"{row.scores[name]:.4f}" if name in row.scores else "" for name in scores),
            f"{row.latency.p50_ms:.1f}",
            f"{row.latency.p90_ms:.1f}",
            f"{remain['latency']:.0f}",
        ]


def markdown(cells: Sequence[Sequence[str]], notes: Iterable[str]) -> str:
    """A table as Markdown, numbers to the right, with a list of notes below.

    Args:
        cells: the header and the rows.
        notes: a sentence each.
    """
    header, *rows = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n" + "".join(f"- {note}\n" for note in notes)


def rich_table(cells: Sequence[Sequence[str]], break_at: str = " ") -> Table:
    """A table for the terminal, numbers to the right.

    Args:
        cells: the header and the rows.
        break_at: where titles are broken into lines.
    """
    header, *rows = cells
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(header[0], no_wrap=True, vertical="bottom")
    for title in header[1:]:
        table.add_column(title.replace(break_at, "\n"), justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*row)
    return table


def print_whole(table: Table, console: Console) -> None:
    """Prints a table that may be wider than the terminal: a wrapped line is read more easily than numbers cut off."""
    needed = Measurement.get(console, console.options.update(width=1000), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


def setup() -> dict[str, Any]:
    """Machine and versions, for files that outlive them."""
    versions = {name: _version(name) for name in VERSIONS}
    return {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _text(text: str, path: str | Path | None) -> str:
    if path is not None:
        write_text(path, text)
    return text
