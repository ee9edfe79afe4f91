"""Reads what a league has so far: a JSON file for each finished run, the teacher's, and the statistics of images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.league.bootstrap import Pair, Run
from kd_yolo.league.images import ImageScores

TEACHER_FILE, REPORT_FILE, IMAGES_FILE = "teacher.json", "league.json", "images.npz"
NEEDED = ("recipe", "seed", "split", "map", "map50", "settings")


def run_name(recipe: str, seed: int) -> str:
    """Name of a run's folder and, with ``.json``, of its result."""
    return f"{recipe}-s{seed}"


@dataclass(frozen=True)
class LeagueResults:
    """The finished runs.

    Attributes:
        runs: content of each JSON file by recipe and seed.
        teacher: the teacher's, or None while it has no score.
    """

    runs: dict[Run, dict[str, Any]]
    teacher: dict[str, Any] | None

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

    def mean(self, recipe: str, key: str) -> float:
        """Average over the seeds."""
        values = self.values(recipe, key).values()
        return sum(values) / len(values)


def read_results(folder: Path) -> LeagueResults:
    """Reads the JSON files of a folder.

    Raises:
        InputError: a file that is not one of a league.
    """
    found = {}
    for file in sorted(folder.glob("*-s*.json")):
        run = read_result(file)
        found[run["recipe"], run["seed"]] = run
    teacher = folder / TEACHER_FILE
    return LeagueResults(found, read_result(teacher) if teacher.is_file() else None)


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


def read_images(results: LeagueResults, runs_folder: Path) -> dict[Run, ImageScores]:
    """Statistics of the images of those runs that were made on this machine.

    Statistics that do not give the mAP in the JSON file are those of another training, and are left out.
    """
    found = {}
    for (recipe, seed), run in results.runs.items():
        file = runs_folder / run_name(recipe, seed) / IMAGES_FILE
        if file.is_file():
            scores = ImageScores.read(file)
            if abs(float(scores.mean_ap()[0]) - run["map"]) < 1e-6:
                found[recipe, seed] = scores
    return found


def read_pairs(folder: Path, results: LeagueResults) -> list[Pair]:
    """Comparisons of an earlier report that still hold: the same seeds, the same difference."""
    file = folder / REPORT_FILE
    if not file.is_file():
        return []
    known = json.loads(file.read_text(encoding="utf-8"))["pairs"]
    pairs = [Pair(p["better"], p["other"], tuple(p["seeds"]), p["gain"], p["p"]) for p in known]
    return [pair for pair in pairs if _holds(pair, results)]


def _holds(pair: Pair, results: LeagueResults) -> bool:
    better, other = results.values(pair.better, "map"), results.values(pair.other, "map")
    common = sorted(set(better) & set(other))
    if not common or tuple(common) != pair.seeds:
        return False
    gain = sum(better[seed] - other[seed] for seed in common) / len(common)
    return abs(gain - pair.gain) < 1e-6
