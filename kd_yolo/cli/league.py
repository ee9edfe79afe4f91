"""``kd-yolo league``: which loss is best on your data."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.cli.about import About, argument_keys
from kd_yolo.cli.closing import print_next, print_results, shell_path
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.run import parse_flags, run_guarded
from kd_yolo.config.base import TrustWeights

if TYPE_CHECKING:  # importing it costs an import of torch and ultralytics
    from kd_yolo.league.plan import League
    from kd_yolo.league.report import LeagueReport
    from kd_yolo.league.request import Request

ABOUT = About(
    """Trains the same student under each loss, from the same weights, in the same data order, seed by seed.

    A recipe is a loss (cwd, cwd+bkd), name=loss:key=value,... with the flags of kd-yolo distill as keys
    (mgd4=mgd:weight=4,stop_at=0.8), or a recipe of cfg/distill. The rows 'none' (no distillation) and 'shipped'
    (ultralytics' own distill_model=) are always there. none@cost is plain training for as long as the dearest recipe
    takes, none@cwd as long as cwd, none@1.8 for 1.8 times the epochs. Others get the same budget for tuning:
    lr2=none:lr0=0.002,nbs=16, dis12=shipped:dis=12. Controls: r=cwd:teacher=random, s=cwd:teacher=student. The same
    command goes on where an interrupted one stopped. Anything else written key=value goes to ultralytics.""",
    "kd-yolo league --losses auto mgd4=mgd:weight=4 none@cost --teacher yolov8s.pt data=my.yaml",
    lambda: argument_keys("league"),
)


class LeagueFlags(TrustWeights, Flags):
    """Flags of ``kd-yolo league``."""

    losses: tuple[str, ...] = ()
    """The recipes to compare (default: none, they must be named)."""
    seeds: str = "0,1,2"
    """Seeds of the trainings, the same for each recipe."""
    teacher: str | None = None
    """Weights that know the data; with --teacher-epochs any weights."""
    student: str | None = None
    """Weights or model YAML of the student (default: the next smaller size of the teacher)."""
    teacher_epochs: int = 0
    """Fine-tune the teacher on the data first, once."""
    teacher_seeds: str = "0"
    """Train the teacher once for each of these seeds; they take turns over --seeds. Their spread is in intervals."""
    split: Literal["val", "test"] = "val"
    """What the runs are evaluated on: val to choose among recipes, test once, at the end."""
    claims: Path | None = None
    """YAML with claims, noted before the first run and checked after the last: shown or not shown."""
    name: str | None = None
    """Name of the folder in runs/league/ (default: that of the data)."""
    out: Path | None = None
    """Folder for table, plot and, per run, a JSON file and the statistics of its images (default: the league's own)."""
    dry_run: bool = False
    """Check everything, list the runs that are missing, write nothing."""
    table: bool = False
    """The table and images of what is there; trains nothing."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo league") -> int:
    """Runs the command and returns its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    words, pairs = split_recipes(given)
    flags = parse_flags(LeagueFlags, words, prog=prog, description=ABOUT, pairs=pairs)
    return run_guarded(lambda: _run(flags, pairs, f"{prog} {shlex.join(given)}"))


def split_recipes(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates flags and recipes from ultralytics' ``key=value`` words.

    Behind ``--losses`` a ``key=value`` whose key ultralytics does not know is a recipe.
    """
    words: list[str] = []
    pairs: list[str] = []
    flag = ""
    for word in argv:
        flag = word if word.startswith("--") else flag
        key = word.partition("=")[0]
        is_pair = "=" in word and key.isidentifier() and not (flag == "--losses" and not _is_argument(key))
        (pairs if is_pair else words).append(word)
    return words, pairs


def _is_argument(key: str) -> bool:
    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    from kd_yolo.yolo.arguments.check import is_argument

    return is_argument(key)


def _run(flags: LeagueFlags, pairs: list[str], command: str) -> None:
    from kd_yolo.league.plan import make_league
    from kd_yolo.league.run import run_league

    request = _request(flags, pairs)
    if flags.table:
        _show_table(request)
        return
    if not flags.losses:
        raise ConfigError("--losses is missing: the recipes to compare, such as --losses cwd mgd cwd+bkd.")
    league = make_league(request, write=not flags.dry_run)
    for note in league.notes:
        print(f"warning: {note}")
    if request.claims is not None:
        noted = _note_claims(request.claims, league, write=not flags.dry_run)
        print(f"claims of {request.claims.name}: {'they fit this league' if flags.dry_run else noted}")
    if flags.dry_run:
        _list_missing(league)
        return
    try:
        report, failures = run_league(league, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print(f"\nfinished runs are kept; continue with: {command}", file=sys.stderr)
        raise
    if report is not None:
        _finish(report, league.out, league)
    if failures:
        lines = "\n".join(f"  {line}" for line in failures)
        raise KDYoloError(f"{len(failures)} run(s) failed:\n{lines}\nThe same command tries them again: {command}")


def _note_claims(path: Path, league: League, *, write: bool) -> str:
    """Notes the claims before the first run; later it has to be the same file."""
    from kd_yolo.league.agreement import check_agreement
    from kd_yolo.league.claims import check_names, note_claims, read_claims

    check_agreement(league)
    recipes = list(dict.fromkeys(job.recipe.name for job in league.jobs))
    check_names(read_claims(path)[0], recipes, league.jobs[0].settings["data"]["name"])
    results, started = (
        sum(file.is_file() for file in files)
        for files in (
            [job.target for job in league.jobs],
            [job.started for job in league.jobs],
        )
    )
    return note_claims(path, league.out, results, started, write=write)


def _request(flags: LeagueFlags, pairs: list[str]) -> Request:
    from kd_yolo.config.league import parse_seeds
    from kd_yolo.league.request import Request
    from kd_yolo.yolo.arguments.check import parse_overrides

    return Request(
        flags.losses, parse_seeds(flags.seeds), flags.teacher, flags.student, flags.teacher_epochs, flags.name,
        flags.out, flags.trust_weights, parse_overrides(pairs, command="league"), flags.split,
        parse_seeds(flags.teacher_seeds, "--teacher-seeds"), flags.claims,
    )  # fmt: skip


def _show_table(request: Request) -> None:
    from kd_yolo.league.plan import folders
    from kd_yolo.league.report import make_report

    arguments = request.arguments
    folder, out = folders(arguments.get("project"), request, arguments.get("data"))
    report = make_report(out, folder)
    if report is None:
        raise InputError(f"{out} has no finished run: leave --table out to train some.")
    report.write(out)
    _finish(report, out, None)


def _list_missing(league: League) -> None:
    from kd_yolo.league.run import describe

    missing = league.missing
    print(f"{len(missing)} of {len(league.jobs) + len(league.teachers)} runs are missing in {league.out}")
    print("\n".join([*(f"  {job.name}: {describe(job)}" for job in missing), "dry run: nothing was written"]))


def _finish(report: LeagueReport, out: Path, league: League | None) -> None:
    """The table, where the results are, and what to type next."""
    print(f"\n{report.to_markdown()}")
    print_results(out, ("league.md", "league.csv", "league.json", "league.png"))
    print_next(_next_command(report, league))


def _next_command(report: LeagueReport, league: League | None) -> str:
    """A whole training with the best recipe."""
    from kd_yolo.config.league import parse_recipe

    row = report.rows[0]
    recipes = {job.recipe.name: job.recipe for job in league.jobs} if league is not None else {}
    recipe = recipes.get(row.recipe) or parse_recipe(row.loss if row.loss == row.recipe else f"{row.recipe}={row.loss}")
    settings = report.results.runs[row.recipe, report.results.seeds(row.recipe)[0]]["settings"]
    student, teacher, data = settings["student"]["name"], settings["teacher"]["name"], "..."
    if league is not None:
        student, teacher, data = (
            shell_path(path) for path in (league.student, league.teacher.best, league.teacher.data)
        )
    own = "".join(f" {key}={value}" for key, value in recipe.train.items())
    if recipe.kind == "plain":
        return f"kd-yolo retrain --model {student} data={data}{own}"
    if recipe.kind == "shipped":
        return f"yolo train model={student} distill_model={teacher} data={data}{own}"
    flags = "".join(f" --{key.replace('_', '-')} {value}" for key, value in recipe.flag_words().items())
    return f"kd-yolo distill --teacher {teacher} --student {student} --loss {recipe.loss}{flags} data={data}{own}"
