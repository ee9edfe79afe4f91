"""Plain training for as long as a distilled row takes: how many epochs that is."""

from __future__ import annotations

import json
import math
from typing import Any

from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.files import write_json
from kd_yolo.config.rows import MEASURED, NONE, SHIPPED
from kd_yolo.league.job import Job
from kd_yolo.league.results import LeagueResults, read_results

COST_FILE = "cost.json"
EPOCHS = 100  # ultralytics' default


def at_its_cost(job: Job) -> Job:
    """The job with its epochs filled in; a row that costs what it costs stays as it is.

    The ratio is measured once, on the first seed that has both rows, and kept in ``cost.json``: all seeds train alike.

    Raises:
        KDYoloError: the row whose cost is meant has not run.
    """
    if not job.recipe.cost:
        return job
    epochs = math.ceil(float(job.arguments.get("epochs", EPOCHS)) * max(1.0, _ratio(job)))
    return job.model_copy(update={"arguments": {**job.arguments, "epochs": epochs}})


def _ratio(job: Job) -> float:
    cost, file = job.recipe.cost, job.target.parent / COST_FILE
    if cost[0].isdigit():
        return float(cost)
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if job.recipe.name not in known:
        known[job.recipe.name] = _measure(read_results(file.parent), cost)
        write_json(file, known)
    return float(known[job.recipe.name]["ratio"])


def _measure(results: LeagueResults, cost: str) -> dict[str, Any]:
    """The cost of the named row, or of the dearest one, over that of ``none``, on the first seed.

    CPU time of the process, which other processes disturb little; on a GPU it says nothing, there it is seconds.
    """
    for seed in results.seeds(NONE):
        rows = {name: run for (name, own), run in results.runs.items() if own == seed and _is_meant(run, cost)}
        plain = results.runs[NONE, seed]
        key = "seconds" if plain.get("cuda_peak_mib") else "cpu_seconds"
        if rows and plain.get(key):
            dearest = max(rows, key=lambda name: float(rows[name][key]))
            ratio = float(rows[dearest][key]) / float(plain[key])
            return {"ratio": ratio, "row": dearest, "of": key, "seed": seed}
    raise KDYoloError(f"'{NONE}' and {'a distilled row' if cost == MEASURED else cost} have to run on a seed first.")


def _is_meant(run: dict[str, Any], cost: str) -> bool:
    """Whether a run is of the named row, or of any that is distilled by its own teacher."""
    recipe = run["settings"]["recipe"]
    if cost != MEASURED:
        return bool(run["recipe"] == cost)
    return recipe.get("loss") not in {NONE, SHIPPED} and "control" not in recipe
