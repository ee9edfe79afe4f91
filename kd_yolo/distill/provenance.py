"""What has to be known to repeat a run, written into its folder."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
from pathlib import Path
from typing import Any

from kd_yolo import __version__
from kd_yolo.data.check import DataReport

log = logging.getLogger("kd_yolo")
PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "opencv-python")


def write_provenance(folder: Path, kd: dict[str, Any], seed: int) -> Path:
    """Writes ``run.json``: versions, seed, the data's path and content hash, the distillation's configuration."""
    versions = {name: _version(name) for name in PACKAGES}
    values = {
        "kd_yolo": __version__,
        "python": platform.python_version(),
        **versions,
        "seed": seed,
        "data": kd.get("data"),
        "data_sha256": kd.get("data_sha256"),
        "distillation": kd.get("config"),
    }
    target, partial = folder / "run.json", folder / "run.partial"
    partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    partial.replace(target)
    return target


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def warn_unreadable(report: DataReport) -> None:
    """Names the pictures that training will skip."""
    files = report.unreadable
    if files:
        names = ", ".join(str(file) for file in files[:5])
        log.warning("%d pictures do not decode and are skipped: %s", len(files), names)
