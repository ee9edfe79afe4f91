"""The report of a league: table, comparisons and image, from JSON and npz files alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.files import write_text
from kd_yolo.league.bootstrap import RESAMPLES, Pair, compare_pairs
from kd_yolo.league.plot import draw_league
from kd_yolo.league.results import REPORT_FILE, LeagueResults, read_images, read_pairs, read_results
from kd_yolo.league.table import NONE, SHIPPED, Row, make_rows, to_csv, to_markdown


@dataclass(frozen=True)
class LeagueReport:
    """What a league has found so far.

    Attributes:
        results: the finished runs; at least one.
        rows: the table, the best recipe first.
        pairs: comparisons of two recipes.
    """

    results: LeagueResults
    rows: list[Row]
    pairs: list[Pair]

    @property
    def teacher(self) -> float | None:
        """The teacher's mAP50-95."""
        return None if self.results.teacher is None else float(self.results.teacher["map"])

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

    def verdicts(self) -> list[str]:
        """What the comparisons with ``none``, ``shipped`` and the best recipe say, a line each."""
        shown = {NONE, SHIPPED, self.rows[0].recipe}
        rank = {row.recipe: place for place, row in enumerate(self.rows)}
        pairs = [pair for pair in self.pairs if shown & {pair.better, pair.other}]
        return [str(pair) for pair in sorted(pairs, key=lambda pair: sorted((rank[pair.better], rank[pair.other])))]

    def to_markdown(self) -> str:
        """Table, comparisons, and how they were made."""
        lines = [
            "# Loss league",
            "",
            to_markdown(self.rows, self.teacher),
            f"{self.caption()}. Gains are paired seed by seed, ± is their standard deviation. Time, CPU time and memory"
            " of the epochs, relative to `none`.",
            "",
            f"Paired bootstrap over the images, {RESAMPLES} resamples, averaged over the common seeds; p says how"
            " easily other images would turn the order round, nothing about other seeds:",
            "",
            *(f"- {line}" for line in self.verdicts() or ["no statistics of images here"]),
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Table and all comparisons, the numbers not rounded."""
        body: dict[str, Any] = {
            "caption": self.caption(),
            "teacher": self.teacher,
            "resamples": RESAMPLES,
            "rows": [asdict(row) for row in self.rows],
            "pairs": [{**asdict(pair), "text": str(pair)} for pair in self.pairs],
        }
        return json.dumps(body, indent=1) + "\n"

    def write(self, folder: Path) -> None:
        """Writes ``league.md``, ``.csv``, ``.json`` and ``.png``."""
        write_text(folder / "league.md", self.to_markdown())
        write_text(folder / "league.csv", to_csv(self.rows))
        write_text(folder / REPORT_FILE, self.to_json())
        scores = {row.recipe: self.results.values(row.recipe, "map") for row in self.rows}
        draw_league(scores, folder / "league.png", teacher=self.teacher, caption=self.caption())


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
    fresh = compare_pairs(read_images(results, runs_folder))
    return LeagueReport(results, make_rows(results), _merge(fresh, read_pairs(out, results), results))


def _merge(fresh: Iterable[Pair], known: Iterable[Pair], results: LeagueResults) -> list[Pair]:
    """New comparisons, and earlier ones of runs whose statistics are on another machine."""
    found: dict[frozenset[str], Pair] = {}
    for pair in (*known, *fresh):
        key = frozenset((pair.better, pair.other))
        if key not in found or len(pair.seeds) >= len(found[key].seeds):
            found[key] = pair
    names = results.recipes
    return sorted(found.values(), key=lambda pair: (names.index(pair.better), names.index(pair.other)))
