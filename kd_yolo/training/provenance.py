"""What has to be known to repeat a run, written into its folder."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from pathlib import Path
from typing import Any

from kd_yolo.base.files import write_json
from kd_yolo.base.reading import first_few, printable
from kd_yolo.base.version import __version__
from kd_yolo.data.check import DataReport

log = logging.getLogger("kd_yolo")
PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "opencv-python")


def write_provenance(folder: Path, settings: dict[str, Any], seed: int, kind: str) -> Path:
    """Writes ``run.json``: versions, seed, the data's path and content hash, the run's own settings.

    Args:
        folder: the run's.
        settings: ``data``, ``data_sha256``, ``config`` and, where networks were measured before, ``measured``, as in
            ``args.kd``.
        seed: of everything random.
        kind: what the run does; the settings' key.
    """
    values = {
        "kd_yolo": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "seed": seed,
        "data": settings.get("data"),
        "data_sha256": settings.get("data_sha256"),
        kind: settings.get("config"),
        **({"measured": settings["measured"]} if "measured" in settings else {}),
    }
    return write_json(folder / "run.json", values)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def say_left_out(report: DataReport) -> None:
    """Says which images training will leave out or rewrite, and what else is to know of the data."""
    left_out, rewritten = report.left_out, report.rewritten
    if left_out:
        log.warning("%d image(s) are left out: %s", len(left_out), first_few(left_out, separator="; "))
    if rewritten:
        names = first_few(rewritten)
        log.warning("%d JPEG file(s) do not end as such: ultralytics will rewrite them: %s", len(rewritten), names)
    if max(len(left_out), len(rewritten)) > 5:
        log.warning("kd-yolo data check lists all of them")
    for note in report.notes:
        log.warning("%s", printable(note))
