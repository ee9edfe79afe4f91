"""The report of a league: table, comparisons and image, from JSON and npz files alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.files import write_text
from kd_yolo.league.bootstrap import RESAMPLES, resample_images
from kd_yolo.league.claims import Verdict, check_claims, read_record
from kd_yolo.league.comparisons import Comparison, Evidence, compare_with_controls
from kd_yolo.league.intervals import LEVEL, MIN_GAP
from kd_yolo.league.plot import draw_league
from kd_yolo.league.results import REPORT_FILE, LeagueResults, read_images, read_results
from kd_yolo.league.table import Row, make_rows, to_csv, to_markdown

METHOD = (
    "Intervals: the noise of repeated runs, pooled over the recipes, and {resamples} resamples of the images where"
    " their statistics are there; corrected for all comparisons with the same control (max-t), so that all of them"
    " hold together with probability {level:.0%}. A share of the gap is shown where the gap is above {gap:g} of its"
    " standard errors."
)
ONE_TEACHER = " One run of the teacher: what another one would change is in no interval."


@dataclass(frozen=True)
class LeagueReport:
    """What a league has found so far.

    Attributes:
        results: the finished runs; at least one.
        rows: the table, the best recipe first.
        comparisons: every recipe with every control.
        verdicts: what became of the claims.
        claims: the claims file's hash and time as they were noted; None without one.
    """

    results: LeagueResults
    rows: list[Row]
    comparisons: list[Comparison]
    verdicts: list[Verdict]
    claims: dict[str, Any] | None = None

    def caption(self) -> str:
        """How the numbers came about, in a sentence."""
        run = next(iter(self.results.runs.values()))
        settings = run["settings"]
        train = ", ".join(f"{key} {value}" for key, value in settings.get("train", {}).items())
        images = f"{run['images']} images of " if "images" in run else ""
        return (
            f"best.pt on {images}split '{run['split']}' of {settings['data']['name']}; student"
            f" {settings['student']['name']}, teacher {settings['teacher']['name']}; {train or 'default settings'}"
        )

    def method(self) -> str:
        """What the intervals account for."""
        text = METHOD.format(resamples=RESAMPLES, level=LEVEL, gap=MIN_GAP)
        drawn = {" and ".join(found.drawn) for found in self.comparisons if found.drawn}
        text += f" Here they account for {'; or '.join(sorted(drawn))}." if drawn else ""
        return text + ("" if self.results.has_teacher_runs or not self.results.teachers else ONE_TEACHER)

    def to_markdown(self) -> str:
        """Table, comparisons, claims, and how they were made."""
        lines = [
            "# Loss league",
            "",
            to_markdown(self.rows, self.results.teacher),
            f"{self.caption()}. Gains are paired seed by seed, ± is their standard deviation. Time, CPU time and memory"
            " of the epochs, relative to `none`.",
            "",
            self.method(),
            "",
            *self._rises(),
            *(f"- {found}" for found in self.comparisons),
        ]
        if self.claims is not None:
            lines += ["", f"Claims of {self.claims['file']}, {self.claims['noted']}:", ""]
            lines += [f"- {verdict}" for verdict in self.verdicts]
        return "\n".join(lines) + "\n"

    def _rises(self) -> list[str]:
        """Whether the recipes were still getting better when their training ended."""
        found = [f"`{recipe}` {last_rise(curve):+.4f}" for recipe, curve in self.results.curves.items()]
        text = "mAP50-95 on val, the last tenth of the epochs minus the tenth before it, mean over the seeds: "
        return [f"{text}{', '.join(found)}.", ""] if found else []

    def to_json(self) -> str:
        """Table, all comparisons and claims, the numbers not rounded."""
        body: dict[str, Any] = {
            "caption": self.caption(),
            "method": self.method(),
            "teacher": self.results.teacher,
            "teacher_runs": {seed: run["map"] for seed, run in sorted(self.results.teachers.items())},
            "resamples": RESAMPLES,
            "rows": [asdict(row) for row in self.rows],
            "comparisons": [{**asdict(found), "text": str(found)} for found in self.comparisons],
            "claims": self.claims,
            "verdicts": [
                {**asdict(verdict), "claim": verdict.claim.model_dump(mode="json"), "text": str(verdict)}
                for verdict in self.verdicts
            ],
        }
        return json.dumps(body, indent=1) + "\n"

    def write(self, folder: Path) -> None:
        """Writes ``league.md``, ``.csv``, ``.json`` and ``.png``."""
        write_text(folder / "league.md", self.to_markdown())
        write_text(folder / "league.csv", to_csv(self.rows))
        write_text(folder / REPORT_FILE, self.to_json())
        scores = {row.recipe: self.results.values(row.recipe, "map") for row in self.rows}
        facts: dict[str, Any] = {
            "teacher": self.results.teacher,
            "curves": self.results.curves,
            "caption": self.caption(),
        }
        draw_league(scores, folder / "league.png", **facts)


def last_rise(curve: Sequence[float]) -> float:
    """What the last tenth of a curve, at least one epoch, is above the tenth before it."""
    tenth = max(1, len(curve) // 10)
    return statistics.mean(curve[-tenth:]) - statistics.mean(curve[-2 * tenth : -tenth] or curve[-tenth:])


def make_report(out: Path, runs_folder: Path) -> LeagueReport | None:
    """The report of what is there.

    Args:
        out: folder of the JSON files.
        runs_folder: folder of the runs, with the statistics of images; may be missing.

    Returns:
        The report, or None when no run is finished.

    Raises:
        InputError: a file that is not one of a league.
    """
    results = read_results(out)
    if not results.runs:
        return None
    evidence = Evidence(results, resample_images(read_images(results, (out, runs_folder))))
    comparisons = compare_with_controls(evidence)
    record = read_record(out)
    verdicts = [] if record is None else check_claims(record, evidence)
    return LeagueReport(results, make_rows(results, comparisons), comparisons, verdicts, record)
