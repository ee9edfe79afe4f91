"""Runs what a league lacks, one run after the other."""

from __future__ import annotations

from collections.abc import Callable

from kd_yolo.base.errors import KDYoloError
from kd_yolo.league.agreement import check_agreement, note_start
from kd_yolo.league.cost import at_its_cost
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
        reason = run_job(job)
        if reason is not None and job in league.teachers:
            raise KDYoloError(f"the {job.name} failed: {reason}")
        if reason is not None:
            say(f"{job.name} failed: {reason}")
            failures.append(f"{job.name}: {reason}")
    report = make_report(league.out, league.folder)
    if report is not None:
        report.write(league.out)
    return report, failures


def run_job(job: Job) -> str | None:
    """Does one job in a process of its own.

    Returns:
        None when it is done, else why it failed.
    """
    job.target.unlink(missing_ok=True)  # a teacher that is trained again has no score until it is
    note_start(job)
    try:
        reason = launch(at_its_cost(job))
    except KDYoloError as error:
        return str(error)
    if reason is None and not job.target.is_file():
        return f"it left no {job.target.name}"
    return reason


def describe(job: Job) -> str:
    """What a run is about to do."""
    if job.kind == "score":
        return "its score"
    if job.kind == "random":
        return "untrained weights"
    if job.recipe.control:
        return (
            f"{job.recipe} (taught by {job.recipe.control} weights)"
            if job.kind == "distill"
            else "the student, fine-tuned"
        )
    if not job.last.is_file():
        return str(job.recipe)
    return "starts again, unless only its score is missing" if job.kind == "shipped" else "goes on from its last.pt"
