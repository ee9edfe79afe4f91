"""Runs what a league lacks, one run after the other."""

from __future__ import annotations

from collections.abc import Callable

from kd_yolo.base.errors import KDYoloError
from kd_yolo.league.agreement import check_agreement, note_start
from kd_yolo.league.job import Job
from kd_yolo.league.launch import launch
from kd_yolo.league.plan import League
from kd_yolo.league.report import LeagueReport, make_report


def run_league(league: League, *, say: Callable[[str], None] = lambda _: None) -> tuple[LeagueReport | None, list[str]]:
    """Trains and scores what is missing, then writes the report.

    Args:
        league: all runs.
        say: called with a line before each run.

    Returns:
        The report (None when no run is finished), and a line for each run that failed.

    Raises:
        ConfigError: runs that are there have other settings.
        KDYoloError: the teacher failed, without which nothing else makes sense.
    """
    check_agreement(league)
    missing, failures = league.missing, []
    for place, job in enumerate(missing, start=1):
        say(f"[{place}/{len(missing)}] {job.name}: {describe(job)}")
        job.target.unlink(missing_ok=True)  # a teacher that is trained again has no score until it is
        note_start(job)
        reason = launch(job)
        if reason is None and not job.target.is_file():
            reason = f"it left no {job.target.name}"
        if reason is not None and job is league.teacher:
            raise KDYoloError(f"the teacher failed: {reason}")
        if reason is not None:
            say(f"{job.name} failed: {reason}")
            failures.append(f"{job.name}: {reason}")
    report = make_report(league.out, league.folder)
    if report is not None:
        report.write(league.out)
    return report, failures


def describe(job: Job) -> str:
    """What a run is about to do."""
    if job.kind == "score":
        return "its score"
    if not job.last.is_file():
        return str(job.recipe)
    return "starts again, unless only its score is missing" if job.kind == "shipped" else "goes on from its last.pt"
