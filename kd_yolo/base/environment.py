"""What every process of ours sets before ultralytics is imported: no installs, safe loading, no telemetry."""

from __future__ import annotations

import os

SETTINGS = {
    "YOLO_AUTOINSTALL": "false",  # ultralytics pip-installs what a file or a format names otherwise
    "ULTRALYTICS_SAFE_LOAD": "1",  # processes that DDP starts read it
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def guard_environment() -> None:
    """Sets the variables for this process and those that it starts; a user's other value does not count.

    The frame of every command calls it first, and importing :mod:`kd_yolo.yolo` does.
    """
    os.environ.update(SETTINGS)
