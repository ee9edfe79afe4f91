"""The settings of a tracker, from rules and a network for the appearance."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.config.base import read_yaml
from kd_yolo.reid.tracker import has_settings, tracker_settings
from kd_yolo.search.tracks.rules import TrackRules

EXPORTS = (".onnx", ".torchscript")
# What each rule sets in a tracker's own settings; a tracker without the first of them has no use for the rule.
SETS = {
    "start": ("track_high_thresh", "new_track_thresh"),
    "buffer": ("track_buffer",),
    "proximity": ("proximity_thresh",),
    "appearance": ("appearance_thresh",),
    "moving": ("gmc_method",),
}
OF_NETWORK = ("proximity", "appearance")


def settings_of(rules: TrackRules, reid: Path | None) -> dict[str, Any]:
    """What :class:`kd_yolo.yolo.track.Follower` takes.

    Args:
        rules: see there.
        reid: an export of a ReID network; None: boxes alone decide.

    Raises:
        ConfigError: unknown tracker, or a file that is no settings.
        InputError: the network is missing or no export.
    """
    from kd_yolo.yolo.track import tracker_names

    network = _network(reid)
    file = _file_of(rules)
    if file is not None:
        own = read_yaml(file)
        kind = str(own.get("tracker_type"))
        settings = {**(tracker_settings(kind) if has_settings(kind) else {}), **own}
        return {**settings, **network}
    known = tracker_names()
    if rules.tracker not in known:
        raise ConfigError(
            f"unknown tracker '{rules.tracker[:60]}'.{nearest(rules.tracker, known)} Known: {', '.join(known)}, or a"
            " YAML file."
        )
    settings = tracker_settings(rules.tracker)
    for name in ("start", "buffer", *OF_NETWORK):
        settings |= {key: getattr(rules, name) for key in SETS[name] if key in settings}
    if "track_low_thresh" in settings:
        settings["track_low_thresh"] = min(settings["track_low_thresh"], rules.start)
    if "gmc_method" in settings:
        default = settings["gmc_method"]
        settings["gmc_method"] = ("sparseOptFlow" if default == "none" else default) if rules.moving else "none"
    return settings | (network if "with_reid" in settings else {})


def check_used(rules: TrackRules, given: Iterable[str], reid: Path | None) -> None:
    """Checks that every rule that the user gave does something.

    Args:
        rules: with the tracker.
        given: names of the rules that the user gave.
        reid: the network; None for none.

    Raises:
        ConfigError: a rule that this tracker does not know, or that needs a network.
    """
    is_file = _file_of(rules) is not None
    settings = {} if is_file else settings_of(rules, reid)
    for name in given:
        flag = "--" + name.replace("_", "-")
        if name in SETS and is_file:
            raise ConfigError(f"{flag}: {rules.tracker} has its own settings; write {', '.join(SETS[name])} there.")
        if name in SETS and SETS[name][0] not in settings:
            raise ConfigError(f"{flag} does nothing with --tracker {rules.tracker}: leave it out.")
        if (name in OF_NETWORK or name == "link") and reid is None:
            raise ConfigError(f"{flag} needs the network that tells people apart: --reid reid.onnx.")


def least_score(settings: dict[str, Any]) -> float:
    """The lowest score of a box that a tracker makes use of."""
    return float(settings.get("track_low_thresh", settings.get("track_high_thresh", 0.1)))


def _file_of(rules: TrackRules) -> Path | None:
    """The tracker YAML that the rules name; None for a tracker by its name."""
    from kd_yolo.yolo.track import tracker_names

    file = Path(rules.tracker)
    if file.suffix not in {".yaml", ".yml"}:
        return None
    if file.stem in tracker_names() and not os.path.lexists(file):
        raise ConfigError(f"{shown(rules.tracker)}: no such file. Write --tracker {file.stem} for ultralytics' own.")
    return file


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
