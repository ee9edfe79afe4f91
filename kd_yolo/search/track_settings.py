"""The settings of a tracker, from rules and a network for the appearance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_yolo.config.base import read_yaml
from kd_yolo.config.tracking import TrackRules
from kd_yolo.errors import ConfigError, InputError
from kd_yolo.registry import nearest
from kd_yolo.reid.tracker import tracker_settings

BUILT_IN = ("botsort", "bytetrack")
EXPORTS = (".onnx", ".torchscript")


def settings_of(rules: TrackRules, reid: Path | None) -> dict[str, Any]:
    """What :class:`kd_yolo.yolo.track.Follower` takes.

    Args:
        rules: see there.
        reid: an export of a ReID network; None: boxes alone decide.

    Raises:
        ConfigError: unknown tracker, or a file that is no settings.
        InputError: the network is missing or no export.
    """
    if rules.tracker.endswith((".yaml", ".yml")):
        own = read_yaml(Path(rules.tracker))
        kind = str(own.get("tracker_type"))
        return {**(tracker_settings(kind) if kind in BUILT_IN else {}), **own, **_network(reid)}
    if rules.tracker not in BUILT_IN:
        known = ", ".join(BUILT_IN)
        raise ConfigError(
            f"unknown tracker '{rules.tracker}'.{nearest(rules.tracker, BUILT_IN)} Known: {known}, or a YAML file."
        )
    settings = tracker_settings(rules.tracker)
    settings |= {"track_high_thresh": rules.start, "new_track_thresh": rules.start, "track_buffer": rules.buffer}
    settings["track_low_thresh"] = min(settings["track_low_thresh"], rules.start)
    if rules.tracker == "botsort":
        settings |= {"proximity_thresh": rules.proximity, "appearance_thresh": rules.appearance, **_network(reid)}
        settings["gmc_method"] = settings["gmc_method"] if rules.moving else "none"
    return settings


def least_score(settings: dict[str, Any]) -> float:
    """The lowest score of a box that a tracker makes use of."""
    return float(settings.get("track_low_thresh", settings.get("track_high_thresh", 0.1)))


def _network(reid: Path | None) -> dict[str, Any]:
    if reid is None:
        return {}
    if reid.suffix not in EXPORTS:
        raise InputError(
            f"{reid} is no export: a tracker takes {' or '.join(EXPORTS)}. Make one with: kd-yolo reid export"
            f" --weights {reid}"
        )
    if not reid.is_file():
        raise InputError(f"{reid}: no such network. Make it with: kd-yolo reid export --weights best.pt")
    return {"with_reid": True, "model": str(reid.resolve())}
