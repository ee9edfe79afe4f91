"""A league goes on only with the settings that it was started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import write_json
from kd_yolo.base.reading import first_few
from kd_yolo.league.job import Job
from kd_yolo.league.plan import League
from kd_yolo.league.results import read_result
from kd_yolo.pipeline.state import differences

SHARED = ("student", "teacher", "data", "train")


def note_start(job: Job) -> None:
    """Writes down with which settings a run starts."""
    write_json(job.started, {"settings": job.settings})


def check_agreement(league: League) -> None:
    """Compares the settings with those of every run that is finished or was started.

    Raises:
        ConfigError: they differ; the message lists where.
        InputError: a result that is not one of a league.
    """
    changed: dict[str, list[str]] = {}
    for name, old, new in _known(league):
        lines = "".join(f"\n    {line}" for line in differences(old, new))
        if lines and name not in changed.setdefault(lines, []):
            changed[lines].append(name)
    if changed:
        found = "\n".join(f"  {first_few(names)}:{lines}" for lines, names in changed.items())
        raise ConfigError(
            f"{league.out} has runs with other settings:\n{found}\nSet them back, or start again under another --name"
            f"{'' if league.out == league.folder else ' and --out'}."
        )


def _known(league: League) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of every run that is there its name, its settings, and what they should be."""
    jobs = (league.teacher, *league.jobs)
    known = [(job.name, read_result(job.target)["settings"], job.settings) for job in jobs if job.target.is_file()]
    known += [(job.name, _started(job.started), job.settings) for job in jobs if job.started.is_file()]
    shared = _shared(league.jobs[0].settings)
    others = set(league.out.glob("*-s*.json")) - {job.target for job in jobs}
    known += [(file.stem, _shared(read_result(file)["settings"]), shared) for file in sorted(others)]
    return known


def _started(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))["settings"])


def _shared(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: settings.get(key) for key in SHARED}
