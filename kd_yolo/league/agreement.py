"""A league goes on only with the settings that it was started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import write_json
from kd_yolo.base.reading import first_few, shown
from kd_yolo.config.rows import TEACHER
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
    splits = set()
    for name, old, new in _known(league):
        lines = "".join(f"\n    {line}" for line in differences(old, new))
        if lines and name not in changed.setdefault(lines, []):
            changed[lines].append(name)
        if "data.split: " in lines:
            splits.add("--split " + shown((old.get("data") or {}).get("split")).strip("'"))
    if changed:
        found = "\n".join(f"  {first_few(names, 3)}:{lines}" for lines, names in changed.items())
        raise ConfigError(
            f"{league.out} has runs with other settings:\n{found}\nSet them back, or start again under another --name"
            f"{'' if league.out == league.folder else ' and --out'}."
            + (f" Those of {' and '.join(sorted(splits))} are here: add that, or another --out." if splits else "")
        )


def _known(league: League) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of every run that is there its name, its settings, and what they should be."""
    jobs = (*league.teachers, *league.jobs)
    known = [(job.name, read_result(job.target)["settings"], job.settings) for job in jobs if job.target.is_file()]
    known += [
        (job.name, _trained(_started(job.started)), _trained(job.settings)) for job in jobs if job.started.is_file()
    ]
    shared = _shared(league.jobs[0].settings)
    others = {file.stem: read_result(file) for file in set(league.out.glob("*-s*.json")) - {job.target for job in jobs}}
    students = {name: run for name, run in sorted(others.items()) if run["recipe"] != TEACHER}
    return known + [(name, _shared(run["settings"]), shared) for name, run in students.items()]


def _trained(settings: dict[str, Any]) -> dict[str, Any]:
    """What decides a training: it may be evaluated on several splits."""
    data = {key: value for key, value in settings.get("data", {}).items() if key != "split"}
    return {**settings, "data": data}


def _started(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))["settings"])


def _shared(settings: dict[str, Any]) -> dict[str, Any]:
    """Without which of the teacher's runs it was."""
    teacher = {key: value for key, value in (settings.get(TEACHER) or {}).items() if key != "seed"}
    return {**{key: settings.get(key) for key in SHARED}, TEACHER: teacher}
