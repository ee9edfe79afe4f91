"""Intervals of earlier experiments, from their committed JSON files alone: nothing is trained.

    python benchmarks/intervals.py

Per-image results of these runs were not kept, so the intervals account for the seeds alone: the noise of a run is
pooled over the arms of a family, and the intervals of a family hold together with probability 0.95
(``kd_yolo/league/intervals.py``). Writes ``docs/benchmarks/intervals.json``. The tables of ``kd-yolo league`` have
theirs from ``kd-yolo league --table --out docs/benchmarks/league/<set> --name <set>``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json
from kd_yolo.league.comparisons import Comparison, Evidence
from kd_yolo.league.results import LeagueResults

BENCHMARKS = ROOT / "docs" / "benchmarks"
Scores = dict[tuple[str, int], float]  # by arm and seed


def read(folder: Path, pattern: str) -> list[tuple[Path, dict[str, Any]]]:
    """The JSON files of an experiment."""
    return [(file, json.loads(file.read_text())) for file in sorted(folder.glob(pattern))]


def unlabelled(folder: Path) -> Scores:
    """Arms of ``unlabelled_gain.py`` on one set; the student on all labels is ``whole``."""
    runs = read(folder, "*/*-s*.json")
    return {("whole" if f.parent.name == "whole" else run["recipe"], run["seed"]): run["map"] for f, run in runs}


def chain(factor: str) -> Scores:
    """Stages of ``prune_chain.py`` at a factor."""
    runs = read(BENCHMARKS / "prune_chain" / "bccd", f"{factor}-s*.json")
    trained = ("base", "retrained", "distilled", "retrained+distilled")  # raw networks are far off, and no trainings
    return {(stage, run["seed"]): run["map50_95"][stage] for _, run in runs for stage in trained}


def reid() -> Scores:
    """Networks of ``reid_gain.py`` that were trained with several seeds."""
    runs = [run for _, run in read(BENCHMARKS / "reid_gain" / "demo", "*-s*.json")]
    return {(run["arm"], run["seed"]): run["mAP"] for run in runs if run["arm"] in ("none", "distill", "self_kd")}


def compare(scores: Scores, pairs: list[tuple[str, str]]) -> list[Comparison]:
    """One family of comparisons."""
    runs = {key: {"map": value, "settings": {}} for key, value in scores.items()}
    return Evidence(LeagueResults(runs, {}), {}).compare(pairs)


def with_none(scores: Scores) -> list[Comparison]:
    """Every arm with ``none``."""
    return compare(scores, [(arm, "none") for arm in arms(scores) if arm != "none"])


def arms(scores: Scores) -> list[str]:
    """Names of the arms, in the order of the files."""
    return list(dict.fromkeys(name for name, _ in scores))


def families() -> dict[str, list[Comparison]]:
    """All comparisons that documents speak of, by experiment."""
    found = {}
    for name in ("street", "bccd"):
        scores = unlabelled(BENCHMARKS / "unlabelled_gain" / name)
        found[f"unlabelled_gain/{name}"] = with_none(scores)
    for factor in ("0.2", "0.5"):
        pairs = [("retrained", "base"), ("retrained+distilled", "base"), ("distilled", "retrained")]
        found[f"prune_chain/bccd {factor}"] = compare(chain(factor), pairs)
    found["reid_gain/demo"] = compare(reid(), [("distill", "none"), ("self_kd", "none")])
    return found


def main() -> None:
    """Writes and prints all intervals."""
    found = families()
    body = {
        name: [
            {
                "arm": item.recipe, "control": item.control, "seeds": len(item.seeds), "gain": item.gain,
                "low": item.interval.low, "high": item.interval.high,
            }
            for item in items
            if item.interval is not None
        ]
        for name, items in found.items()
    }  # fmt: skip
    write_json(BENCHMARKS / "intervals.json", body)
    for name, items in found.items():
        print(f"{name}\n" + "".join(f"  {item}\n" for item in items))


if __name__ == "__main__":
    main()
