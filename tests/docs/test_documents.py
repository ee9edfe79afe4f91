"""The documents hold together: links lead somewhere, README stays short, its figures are those of the JSON files."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.seeded import paired_interval
from kd_yolo.base import errors

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "datasets" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = ROOT / "docs" / "benchmarks"


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    broken = []
    text = file.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        if link.startswith("http"):
            continue
        place, _, anchor = link.partition("#")
        target = (file.parent / place).resolve() if place else file
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 150


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)} | {errors.EXIT_INTERRUPTED, 0}
    assert {int(row) for row in rows} == codes


def read(*parts: str) -> Any:
    return json.loads(BENCHMARKS.joinpath(*parts).read_text(encoding="utf-8"))


def short(value: float, digits: int = 3) -> str:
    """``.568`` as the table writes it."""
    return f"{value:.{digits}f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    return f"{'+' if value > 0 else '-'}{short(abs(value))}"


def difference(gain: float, low: float, high: float) -> str:
    return f"{signed(gain)} ({signed(low)} to {signed(high)})"


def gains(folder: str, recipe: str) -> str:
    """Difference to no distillation with its corrected interval."""
    found = {row["recipe"]: row for row in read("league", folder, "league.json")["rows"]}[recipe]
    return difference(*(found[key] for key in ("gain_none", "gain_none_low", "gain_none_high")))


def chain(factor: str) -> str:
    """A network before pruning and after retraining and distillation."""
    runs = [read("prune_chain", "bccd", f"{factor}-s{seed}.json")["map50_95"] for seed in range(3)]
    base, end = (short(statistics.mean(run[key] for run in runs)) for key in ("base", "retrained+distilled"))
    (row,) = (r for r in read("intervals.json")[f"prune_chain/bccd {factor}"] if r["arm"] == "retrained+distilled")
    return f"{base} → {end}: {difference(row['gain'], row['low'], row['high'])}"


def after_pruning(name: str, factor: float) -> str:
    """Half of the channels: retrained at equal cost and distilled, and the difference."""
    folder = ROOT / "docs" / "results" / "after_pruning"
    plain, twice, distilled = (
        [json.loads((folder / name / f"{factor:g}-{arm}-s{seed}.json").read_text())["map"]["test"] for seed in range(5)]
        for arm in ("retrained_at_equal_cost", "retrained_twice_as_long", "distilled")
    )
    num_factors = len({file.name.split("-")[0] for file in (folder / name).glob("0.*-s0.json")})
    gain, other = (
        difference(*paired_interval([own - score for own, score in zip(distilled, control, strict=True)], num_factors))
        for control in (plain, twice)
    )
    ends = f"{short(statistics.mean(plain))} → {short(statistics.mean(distilled))}"
    return f"{ends}: {gain}; retrained twice as long: {other}"


def few_labels(name: str) -> str:
    """Plain training at equal cost, the default loss with unlabelled images, and the gain of both forms of it."""
    report = json.loads((ROOT / "docs" / "results" / "few_labels" / name / "league.json").read_text(encoding="utf-8"))
    scores = {row["recipe"]: short(row["map"]) for row in report["rows"]}
    found = {
        item["recipe"]: difference(item["gain"], item["interval"]["low"], item["interval"]["high"])
        for item in report["comparisons"]
        if item["control"] == "none@cost"
    }
    ends = f"{scores['none@cost']} → {scores['unlabelled']}"
    return f"{ends}: {found['unlabelled']}; without the unlabelled images {found['auto']}"


def figures() -> dict[str, str]:
    """A row of README's table by a piece of its first column: the second column, from the JSON files."""
    latency = {row["factor"]: row["ratio"] for row in read("prune_latency.json")["rows"] if row["runtime"] == "onnx"}
    step = {name: row["ratio"] for name, row in read("step_cost.json")["methods"].items()}
    resume = read("resume_exact.json")
    ours, theirs = (resume[name]["largest loss difference"] for name in ("kd-yolo", "ultralytics"))
    shipped = "ultralytics' own distillation"
    return {
        "a fifth of the channels": chain("0.2"),
        "half of the channels": chain("0.5"),
        "latency": f"{short(latency[0.2], 2)} and {short(latency[0.5], 2)}",
        "all_round": f"{gains('street', 'constant')}; {shipped} {gains('street', 'shipped')}",
        "few labels": f"{few_labels('bccd-20-all')}. `street-demo`: {few_labels('street-demo-20-all')}",
        "unpruned self": after_pruning("bccd", 0.5),
        "training step": f"{step['bkd']:.2f} (`bkd`); {shipped} {step['shipped']:.2f}",
        "killed and resumed": f"{ours:.1f}; ultralytics' own resume {theirs:.1f}",
    }


@pytest.mark.parametrize(("piece", "expected"), figures().items())
def test_every_figure_of_the_results_is_that_of_its_file(piece: str, expected: str) -> None:
    section = README.partition("\n## Results\n")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("|") and piece in row.split("|")[1]]
    assert len(rows) == 1
    assert rows[0].split("|")[2].strip() == expected


def test_the_table_has_no_other_rows() -> None:
    section = README.partition("\n## Results\n")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("|")][2:]
    assert len(rows) == len(figures()) <= 8
