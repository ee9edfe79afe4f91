"""The tables of docs/results.md that come from leagues, and its intervals, are those of the JSON files."""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks import after_pruning, int8_gain, intervals, mgd_default
from kd_yolo.league.report import make_report
from kd_yolo.league.table import spread

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "docs" / "benchmarks"
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
NAMES = {
    "constant": "`all_round`", "balanced_constant": "`balanced`", "balanced": "`bkd+dfl_kl --gate balanced`",
    "all_balanced": "`all_round`, balanced gate", "double": "`cwd+bkd+dfl_kl --weight 2+2+4`",
}  # fmt: skip


def between(row: dict[str, Any], name: str, form: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None else f"{low:{form}} to {high:{form}}"


def league_rows(name: str) -> list[str]:
    """The rows of a league as the document shows them."""
    report = json.loads((BENCHMARKS / "league" / name / "league.json").read_text(encoding="utf-8"))
    lines = [f"| teacher |  | {report['teacher']:.4f} |  |  |  |  |"]
    for row in report["rows"]:
        share = between(row, "gap_closed", "+.0%")
        lines.append(
            f"| {NAMES.get(row['recipe'], '`' + row['recipe'] + '`')} | {row['seeds']} |"
            f" {spread(row['map'], row['map_sd'], '.4f')} | {spread(row['gain_none'], row['gain_none_sd'], '+.4f')} |"
            f" {between(row, 'gain_none', '+.4f')} | {spread(row['gain_shipped'], row['gain_shipped_sd'], '+.4f')} |"
            f" {share and format(row['gap_closed'], '+.0%') + ' (' + share + ')'} |"
        )
    return lines


def few_label_rows(name: str) -> list[str]:
    """Each row, and what it has over the two plain ones."""
    report = json.loads((ROOT / "docs" / "results" / "few_labels" / name / "league.json").read_text(encoding="utf-8"))
    gains = {(item["recipe"], item["control"]): item for item in report["comparisons"]}
    lines = [f"| teacher |  | {report['teacher']:.4f} |  |  |  |"]
    for row in report["rows"]:
        cells = []
        for control in ("none", "none@cost"):
            item = gains.get((row["recipe"], control))
            form = "{gain:+.4f} ({interval[low]:+.4f} to {interval[high]:+.4f})"
            cells.append("" if item is None else form.format(**item))
        mean = spread(row["map"], row["map_sd"], ".4f")
        lines.append(
            f"| `{row['recipe']}` | {row['seeds']} | {mean} | {cells[0]} | {cells[1]} | {row['cpu_time']:.1f} |"
        )
    return lines


def unlabelled_rows(name: str) -> list[str]:
    """The same of an experiment with unlabelled images, the worst arm first."""
    scores = intervals.unlabelled(BENCHMARKS / "unlabelled_gain" / name)
    rows = {row["arm"]: row for row in saved()[f"unlabelled_gain/{name}"]}
    runs = {arm: [score for (own, _), score in scores.items() if own == arm] for arm in intervals.arms(scores)}
    lines = []
    for arm in sorted(runs, key=lambda arm: statistics.mean(runs[arm])):
        labels, shown = ("whole", "no distillation") if arm == "whole" else ("half", arm)
        gain = (
            f"{rows[arm]['gain']:+.4f} | {rows[arm]['low']:+.4f} to {rows[arm]['high']:+.4f}" if arm in rows else " | "
        )
        shown = "no distillation" if arm == "none" else shown
        mean = spread(statistics.mean(runs[arm]), statistics.stdev(runs[arm]), ".4f")
        lines.append(f"| {labels} | {shown} | {len(runs[arm])} | {mean} | {gain} |")
    return lines


def saved() -> Any:
    return json.loads((BENCHMARKS / "intervals.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["street", "bccd"])
def test_tables_are_those_of_the_files(name: str) -> None:
    assert "\n".join(league_rows(name)) in RESULTS
    assert "\n".join(unlabelled_rows(name)) in RESULTS


@pytest.mark.parametrize("name", ["street", "bccd"])
def test_the_report_of_a_league_is_that_of_its_runs(name: str) -> None:
    """Leagues of before are read, and the committed report is what they give today."""
    folder = BENCHMARKS / "league" / name
    report = make_report(folder, folder)
    assert report is not None
    found, known = json.loads(report.to_json()), json.loads((folder / "league.json").read_text(encoding="utf-8"))
    assert found["caption"] == known["caption"]
    for own, other in zip(found["comparisons"], known["comparisons"], strict=True):
        assert (own["recipe"], own["control"], own["drawn"]) == (other["recipe"], other["control"], ["seeds"])
        assert own["gain"] == pytest.approx(other["gain"])
        assert own["interval"] == pytest.approx(other["interval"])


def test_the_table_after_pruning_is_that_of_its_runs() -> None:
    folder = ROOT / "docs" / "results" / "after_pruning"
    for name in ("bccd", "street-demo"):
        assert after_pruning.table(argparse.Namespace(out=folder, set_name=name)) in RESULTS
    assert after_pruning.table(argparse.Namespace(out=folder.with_name("rtdetr"), set_name="bccd")) in RESULTS


def test_the_tables_of_int8_are_those_of_their_runs() -> None:
    folder = ROOT / "docs" / "results" / "int8_gain"
    sets = [place.name for place in folder.iterdir() if place.is_dir()]
    assert sets
    for name in sets:
        args = argparse.Namespace(out=folder, set_name=name)
        assert int8_gain.table(args) in RESULTS
        lines = int8_gain.verdicts(args)
        assert lines
        assert "\n".join(f"- {line}" for line in lines) in RESULTS


def int8_chain_rows(name: str) -> list[str]:
    """The table at the end of a chain with the stage ``qat``, as it stands in results.md."""
    file = ROOT / "docs" / "results" / "int8_chain" / name / "int8.json"
    rows = []
    for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
        cells = [row["name"], f"{row['file_mb']:.1f}"]
        for runtime in ("ONNX Runtime", "OpenVINO"):
            time = row["latency"][runtime]
            cells += [f"{row['mAP50-95'][runtime]:.4f}", f"{time['p50_ms']:.2f}", f"{time['p90_ms']:.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_the_table_of_a_chain_for_int8_is_that_of_its_run() -> None:
    assert "\n".join(int8_chain_rows("bccd")) in RESULTS


def test_the_table_of_few_labels_is_that_of_its_runs() -> None:
    assert "\n".join(few_label_rows("bccd-20-all")) in RESULTS
    assert "\n".join(few_label_rows("street-demo-20-all")) in RESULTS
    assert "\n".join(few_label_rows("street-demo-20-all-onnx")) in RESULTS


def test_the_table_of_mgd_is_that_of_its_runs() -> None:
    folder = ROOT / "docs" / "results" / "mgd_default"
    table, epochs = mgd_default.table(argparse.Namespace(out=folder, set_name="bccd")).split("\nepoch", 1)
    assert table in RESULTS
    assert all(f"    epoch {line.removeprefix('epoch ').strip()}\n" in RESULTS for line in epochs.splitlines())


def test_intervals_of_earlier_experiments_are_those_of_their_runs() -> None:
    known = saved()
    for name, items in intervals.families().items():
        assert [item.recipe for item in items] == [row["arm"] for row in known[name]]
        for item, row in zip(items, known[name], strict=True):
            assert item.interval is not None
            assert (item.interval.low, item.interval.high) == pytest.approx((row["low"], row["high"]))
