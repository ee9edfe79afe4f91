"""Results are written beside and renamed: under the final name there is a whole file or the previous one."""

from __future__ import annotations

import io
import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Writes a file; makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Writes a UTF-8 text file; makes its folder."""
    return write_bytes(path, text.encode())


def write_figure(path: str | Path, figure: Figure, *, dpi: int = 130) -> Path:
    """Writes a figure as PNG with a canvas of its own: matplotlib's current backend stays what it is."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return write_bytes(path, buffer.getvalue())
