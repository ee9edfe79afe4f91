"""The table of a league: a row for each recipe, gains paired seed by seed."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kd_yolo.config.rows import NONE, SHIPPED
from kd_yolo.league.comparisons import Comparison
from kd_yolo.league.results import LeagueResults

HEADER = ["recipe", "seeds", "mAP50-95", "mAP50", "gain over `none`", "95 % interval", "gain over `shipped`"]
HEADER += ["gap to the teacher closed", "time", "CPU time", "memory"]
Spread = tuple[float | None, float | None]  # mean and standard deviation, as far as there are values


@dataclass(frozen=True)
class Row:
    """A recipe; what cannot be said yet is None.

    Attributes:
        recipe: its name.
        loss: what it does, as it was typed.
        seeds: number of its finished runs.
        map: mean mAP50-95.
        map_sd: standard deviation over the seeds, from two seeds on.
        map50: mean mAP50.
        gain_none, gain_none_sd: mAP50-95 minus that of ``none`` with the same seed.
        gain_shipped, gain_shipped_sd: the same for ``shipped``.
        gain_none_low, gain_none_high: its interval, see :mod:`kd_yolo.league.intervals`.
        gap_closed: share of the way from ``none`` to the teacher; shown only with its interval.
        gap_closed_low, gap_closed_high: its interval, where the gap is wide enough.
        time, cpu_time, memory: relative to ``none``.
    """

    recipe: str
    loss: str
    seeds: int
    map: float
    map_sd: float | None
    map50: float
    gain_none: float | None
    gain_none_sd: float | None
    gain_shipped: float | None
    gain_shipped_sd: float | None
    gap_closed: float | None
    time: float | None
    cpu_time: float | None
    memory: float | None
    gain_none_low: float | None = None
    gain_none_high: float | None = None
    gap_closed_low: float | None = None
    gap_closed_high: float | None = None


def make_rows(results: LeagueResults, comparisons: Iterable[Comparison] = ()) -> list[Row]:
    """A row for each recipe with a finished run, the best first.

    Args:
        results: the finished runs.
        comparisons: those with ``none`` give the intervals.
    """
    with_none = {found.recipe: found for found in comparisons if found.control == NONE}
    return [_row(recipe, results, with_none.get(recipe)) for recipe in results.recipes]


def _row(recipe: str, results: LeagueResults, found: Comparison | None) -> Row:
    interval, share = (found.interval, found.share_interval) if found is not None else (None, None)
    run = results.runs[recipe, results.seeds(recipe)[0]]
    gain_none, gain_none_sd = _gain(recipe, NONE, results)
    gain_shipped, gain_shipped_sd = _gain(recipe, SHIPPED, results)
    return Row(
        recipe=recipe,
        loss=run.get("loss") or recipe,
        seeds=len(results.seeds(recipe)),
        map=results.mean(recipe, "map"),
        map_sd=mean_sd(list(results.values(recipe, "map").values()))[1],
        map50=results.mean(recipe, "map50"),
        gain_none=gain_none,
        gain_none_sd=gain_none_sd,
        gain_shipped=gain_shipped,
        gain_shipped_sd=gain_shipped_sd,
        gap_closed=_gap_closed(recipe, results) if found is None or found.share is None else found.share,
        time=_relative(recipe, "seconds", results),
        cpu_time=_relative(recipe, "cpu_seconds", results),
        memory=_relative(recipe, "cuda_peak_mib", results) or _relative(recipe, "peak_mib", results),
        gain_none_low=interval.low if interval else None,
        gain_none_high=interval.high if interval else None,
        gap_closed_low=share.low if share else None,
        gap_closed_high=share.high if share else None,
    )


def mean_sd(values: list[float]) -> Spread:
    """Mean from one value on, standard deviation from two on."""
    return statistics.mean(values) if values else None, statistics.stdev(values) if len(values) > 1 else None


def _common(recipe: str, base: str, key: str, results: LeagueResults) -> list[tuple[float, float]]:
    """Values of both recipes, seed by seed."""
    own, other = results.values(recipe, key), results.values(base, key)
    return [(own[seed], other[seed]) for seed in own if seed in other]


def _gain(recipe: str, base: str, results: LeagueResults) -> Spread:
    pairs = [] if recipe == base else _common(recipe, base, "map", results)
    return mean_sd([own - other for own, other in pairs])


def _gap_closed(recipe: str, results: LeagueResults) -> float | None:
    """Of a teacher that is no better than ``none`` nobody can say it."""
    common = _common(recipe, NONE, "map", results)
    if recipe == NONE or not common or results.teacher is None:
        return None
    gap = sum(results.teacher - base for _, base in common)
    return sum(own - base for own, base in common) / gap if gap > 0 else None


def _relative(recipe: str, key: str, results: LeagueResults) -> float | None:
    common = _common(recipe, NONE, key, results)
    below = sum(base for _, base in common)
    return sum(own for own, _ in common) / below if below else None


def to_markdown(rows: list[Row], teacher: float | None) -> str:
    """The table for people."""
    lines = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)]]
    if teacher is not None:
        lines.append(["teacher", "", f"{teacher:.4f}", *[""] * (len(HEADER) - 3)])
    lines += [_cells(row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cells(row: Row) -> list[str]:
    shown = row.recipe if row.loss == row.recipe else f"{row.recipe} ({row.loss})"
    return [
        f"`{shown}`",
        str(row.seeds),
        spread(row.map, row.map_sd, ".4f"),
        f"{row.map50:.4f}",
        spread(row.gain_none, row.gain_none_sd, "+.4f"),
        _between(row.gain_none_low, row.gain_none_high, "+.4f"),
        spread(row.gain_shipped, row.gain_shipped_sd, "+.4f"),
        _share(row),
        *("" if ratio is None else f"{ratio:.2f} x" for ratio in (row.time, row.cpu_time, row.memory)),
    ]


def _between(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"{low:{form}} to {high:{form}}"


def _share(row: Row) -> str:
    between = _between(row.gap_closed_low, row.gap_closed_high, "+.0%")
    return f"{row.gap_closed:+.0%} ({between})" if between else ""


def spread(mean: float | None, deviation: float | None, form: str) -> str:
    """Mean and, if there is one, standard deviation."""
    if mean is None:
        return ""
    return f"{mean:{form}}" + (f" ± {deviation:.4f}" if deviation is not None else "")


def to_csv(rows: list[Row]) -> str:
    """All columns, the numbers not rounded."""
    buffer = io.StringIO()
    records: list[dict[str, Any]] = [asdict(row) for row in rows]
    writer = csv.DictWriter(buffer, list(Row.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()
