"""Reads what a league has so far: a JSON file for each finished run, the teacher's too, and statistics of images."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.config.rows import TEACHER
from kd_yolo.league.bootstrap import Run
from kd_yolo.league.images import ImageScores

REPORT_FILE, OLD_IMAGES = "league.json", "images.npz"
NEEDED = ("recipe", "seed", "split", "map", "map50", "settings")


def run_name(recipe: str, seed: int) -> str:
    """Name of a run's folder and, with ``.json``, of its result."""
    return f"{recipe}-s{seed}"


def teacher_name(seed: int) -> str:
    """The same of a run of the teacher; the first one was there before there could be several."""
    return TEACHER if seed == 0 else run_name(TEACHER, seed)


@dataclass(frozen=True)
class LeagueResults:
    """The finished runs.

    Attributes:
        runs: content of each JSON file of a student by recipe and seed.
        teachers: those of the teacher's runs by their seed; empty while none has a score.
    """

    runs: dict[Run, dict[str, Any]]
    teachers: dict[int, dict[str, Any]]

    @property
    def teacher(self) -> float | None:
        """The teacher's mAP50-95, the mean over its runs."""
        return statistics.mean(float(run["map"]) for run in self.teachers.values()) if self.teachers else None

    @property
    def has_teacher_runs(self) -> bool:
        """Whether students were taught by several runs of the teacher."""
        return len({self.teacher_of(seed) for _, seed in self.runs}) > 1

    def teacher_of(self, seed: int) -> int:
        """Seed of the teacher's run that teaches the students of a seed."""
        settings = next(run["settings"] for (_, own), run in self.runs.items() if own == seed)
        return int(settings.get("teacher", {}).get("seed", 0))

    def repetition(self, seed: int) -> int:
        """What was repeated: the teacher's run where there are several, else the seed."""
        return self.teacher_of(seed) if self.has_teacher_runs else seed

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes, the best first."""
        return sorted(dict.fromkeys(recipe for recipe, _ in self.runs), key=lambda name: -self.mean(name, "map"))

    def seeds(self, recipe: str) -> list[int]:
        """Seeds of a recipe's finished runs."""
        return sorted(seed for name, seed in self.runs if name == recipe)

    def values(self, recipe: str, key: str) -> dict[int, float]:
        """A number of each of a recipe's runs, by seed; those that do not have it are left out."""
        found = {seed: self.runs[recipe, seed].get(key) for seed in self.seeds(recipe)}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    @property
    def curves(self) -> dict[str, list[float]]:
        """mAP50-95 on val after each epoch by recipe, the mean over those of its seeds that noted it."""
        found = {}
        for recipe in self.recipes:
            own = [self.runs[recipe, seed].get("curve") or [] for seed in self.seeds(recipe)]
            means = [statistics.mean(epoch) for epoch in zip(*filter(None, own), strict=False)]
            found.update({recipe: means} if means else {})
        return found

    def mean(self, recipe: str, key: str) -> float:
        """Average over the seeds."""
        values = self.values(recipe, key).values()
        return sum(values) / len(values)


def read_results(folder: Path) -> LeagueResults:
    """Reads the JSON files of a folder.

    Raises:
        InputError: a file that is not one of a league.
    """
    results = LeagueResults({}, {})
    for file in sorted({*folder.glob("*-s*.json"), *folder.glob(f"{TEACHER}.json")}):
        run = read_result(file)
        if run["recipe"] != TEACHER:
            results.runs[run["recipe"], run["seed"]] = run
        elif not run.get("control"):  # a random one teaches too, but is not what the gap is measured to
            results.teachers[run["settings"]["teacher"].get("seed", 0)] = run
    return results


def read_result(file: Path) -> dict[str, Any]:
    """Reads one JSON file.

    Raises:
        InputError: it is not one of a league.
    """
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in NEEDED if key not in run]
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is no result of a league ({error}): remove it, and its run is made again.") from None
    if missing:
        raise InputError(
            f"{file} is no result of a league, it has no {', '.join(missing)}: remove it, or choose another --out."
        )
    return dict(run)


def read_images(results: LeagueResults, places: Sequence[Path]) -> dict[Run, ImageScores]:
    """Statistics of the images of runs and teachers.

    Statistics that do not give the mAP in the JSON file are those of another training, and are left out.

    Args:
        results: the finished runs.
        places: folders with ``<run>.npz``, or (earlier leagues) ``<run>/images.npz``; the first that has it counts.
    """
    everyone = {**results.runs, **{(TEACHER, seed): run for seed, run in results.teachers.items()}}
    found = {}
    for (recipe, seed), run in everyone.items():
        name = teacher_name(seed) if recipe == TEACHER else run_name(recipe, seed)
        files = [file for place in places for file in (place / f"{name}.npz", place / name / OLD_IMAGES)]
        for file in filter(Path.is_file, files):
            scores = ImageScores.read(file)
            if abs(float(scores.mean_ap()[0]) - run["map"]) < 1e-6:
                found[recipe, seed] = scores
                break
    return found
