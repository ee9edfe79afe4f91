"""Figures to files, without a display and without a change of matplotlib's state."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kd_yolo.base.files import write_bytes


def write_figure(path: str | Path, figure: Figure, *, dpi: int = 130) -> Path:
    """Writes a figure as PNG with a canvas of its own: matplotlib's current backend stays what it is."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return write_bytes(path, buffer.getvalue())
