"""A tracker YAML for ultralytics that uses an exported network: ``yolo track tracker=reid_botsort.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kd_yolo.base.errors import ConfigError, MissingDependencyError
from kd_yolo.base.extras import installed_file
from kd_yolo.base.files import write_text
from kd_yolo.base.reading import shown

NAME = "reid_botsort.yaml"
PLACE = "cfg/trackers"


def tracker_settings(kind: str, network: Path | None = None) -> dict[str, Any]:
    """A tracker's settings of the installed ultralytics.

    Args:
        kind: a tracker of the installed ultralytics.
        network: an export for the appearance, see :mod:`kd_yolo.reid.export`.

    Raises:
        MissingDependencyError: ultralytics is not installed.
        ConfigError: a tracker without a file of settings, as one that a package adds.
    """
    source = installed_file("ultralytics", f"{PLACE}/{kind}.yaml")
    if installed_file("ultralytics", "cfg/default.yaml") is None:
        raise MissingDependencyError("the tracker's settings come from ultralytics: pip install 'ultralytics>=8.4.183'")
    if source is None:
        raise ConfigError(
            f"ultralytics has no file of settings for the tracker {shown(kind)}: write a YAML with 'tracker_type: KIND'"
            " and all of its settings, and give --tracker FILE.yaml."
        )
    settings: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    return settings if network is None else {**settings, "with_reid": True, "model": str(network.resolve())}


def has_settings(kind: str) -> bool:
    """Whether the installed ultralytics has a file of settings for a tracker."""
    return kind.isidentifier() and installed_file("ultralytics", f"{PLACE}/{kind}.yaml") is not None


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
