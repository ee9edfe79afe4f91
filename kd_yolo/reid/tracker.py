"""A tracker YAML for ultralytics that uses an exported network: ``yolo track tracker=reid_botsort.yaml``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from kd_yolo.base.errors import MissingDependencyError
from kd_yolo.base.files import write_text

NAME = "reid_botsort.yaml"
PLACE = Path("cfg") / "trackers"


def tracker_settings(kind: str, network: Path | None = None) -> dict[str, Any]:
    """A tracker's settings of the installed ultralytics.

    Args:
        kind: a tracker of the installed ultralytics.
        network: an export for the appearance, see :mod:`kd_yolo.reid.export`.

    Raises:
        MissingDependencyError: ultralytics is not installed, or too old for its trackers to use a network.
    """
    found = find_spec("ultralytics")  # its files are read, it is not imported
    source = None if found is None or found.origin is None else Path(found.origin).parent / PLACE / f"{kind}.yaml"
    if source is None or not source.is_file():
        raise MissingDependencyError("the tracker's settings come from ultralytics: pip install 'ultralytics>=8.4.176'")
    settings: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    return settings if network is None else {**settings, "with_reid": True, "model": str(network.resolve())}


def write_tracker(network: Path) -> Path:
    """Writes BoT-SORT's settings of the installed ultralytics with this network for the appearance.

    Args:
        network: an export, see :mod:`kd_yolo.reid.export`.

    Returns:
        ``reid_botsort.yaml`` beside it.

    Raises:
        MissingDependencyError: see :func:`tracker_settings`.
    """
    settings = tracker_settings("botsort", network)
    head = f"# BoT-SORT with {network.name}: yolo track model=yolov8n.pt source=video.mp4 tracker={NAME}\n"
    return write_text(network.with_name(NAME), head + yaml.safe_dump(settings, sort_keys=False))
