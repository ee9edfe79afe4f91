"""The table by hand: paired gains, the share of the gap, relative costs; and what the report files hold."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.league.report import make_report
from kd_yolo.league.results import read_results
from kd_yolo.league.table import make_rows
from tests.league.test_league_bootstrap import random_scores

SETTINGS = {
    "student": {"name": "n.pt"}, "teacher": {"name": "s.pt"}, "data": {"name": "bccd"}, "train": {"epochs": 15},
}  # fmt: skip


def write(out: Path, recipe: str, seed: int, score: float, **more: Any) -> None:
    out.mkdir(exist_ok=True)
    run = {
        "recipe": recipe, "seed": seed, "split": "test", "images": 72, "map": score, "map50": score + 0.2,
        "settings": SETTINGS, **more,
    }  # fmt: skip
    name = "teacher" if recipe == "teacher" else f"{recipe}-s{seed}"
    (out / f"{name}.json").write_text(json.dumps(run))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three recipes; ``cwd`` lacks a seed, ``shipped`` has one that nobody else has."""
    out = tmp_path / "out"
    write(out, "teacher", 0, 0.60)
    for seed, (none, shipped, cwd) in enumerate([(0.50, 0.51, 0.54), (0.52, 0.50, 0.55), (0.54, 0.55, None)]):
        write(out, "none", seed, none, seconds=100.0, cpu_seconds=90.0, peak_mib=1000.0)
        write(out, "shipped", seed, shipped, seconds=150.0, cpu_seconds=180.0, peak_mib=1500.0, cuda_peak_mib=None)
        if cwd is not None:
            write(out, "cwd", seed, cwd, loss="cwd:weight=2", seconds=110.0 + 20 * seed)
    write(out, "shipped", 7, 0.90)
    return out


def test_rows_by_hand(out: Path) -> None:
    shipped, cwd, none = make_rows(read_results(out))
    assert [row.recipe for row in (shipped, cwd, none)] == ["shipped", "cwd", "none"]
    assert (cwd.seeds, none.seeds, shipped.seeds) == (2, 3, 4)
    assert cwd.map == pytest.approx(0.545)
    assert cwd.map_sd == pytest.approx(0.01 / 2**0.5)
    assert cwd.map50 == pytest.approx(0.745)
    assert cwd.gain_none == pytest.approx((0.04 + 0.03) / 2)
    assert cwd.gain_none_sd == pytest.approx(0.01 / 2**0.5)
    assert cwd.gain_shipped == pytest.approx((0.03 + 0.05) / 2)
    assert cwd.gap_closed == pytest.approx((0.04 + 0.03) / (0.10 + 0.08))
    assert shipped.gain_none == pytest.approx((0.01 - 0.02 + 0.01) / 3)  # seed 7 has nothing to be compared with
    assert (none.gain_none, none.gap_closed, shipped.gain_shipped) == (None, None, None)
    assert none.gain_shipped == pytest.approx(0.0)
    assert cwd.time == pytest.approx(240 / 200)
    assert (cwd.cpu_time, cwd.memory) == (None, None)
    assert (shipped.time, shipped.cpu_time, shipped.memory) == (1.5, 2.0, 1.5)


def test_one_seed_has_no_deviation_and_a_poor_teacher_no_gap(tmp_path: Path) -> None:
    write(tmp_path, "none", 0, 0.5)
    write(tmp_path, "cwd", 0, 0.6)
    (row, _) = make_rows(read_results(tmp_path))
    assert (row.map_sd, row.gain_none_sd, row.gap_closed, row.gain_shipped) == (None, None, None, None)
    write(tmp_path, "teacher", 0, 0.5)
    assert make_rows(read_results(tmp_path))[0].gap_closed is None


def test_markdown(out: Path) -> None:
    report = make_report(out, out)
    assert report is not None
    lines = report.to_markdown().splitlines()
    assert "| teacher |  | 0.6000 |  |  |  |  |  |  |  |" in lines
    assert (
        "| `cwd (cwd:weight=2)` | 2 | 0.5450 ± 0.0071 | 0.7450 | +0.0350 ± 0.0071 | +0.0400 ± 0.0141 | +39% | 1.20 x |"
        "  |  |"
    ) in lines
    assert any(line.startswith("best.pt on 72 images of split 'test' of bccd; student n.pt") for line in lines)
    assert "- no statistics of images here" in lines


def test_files(out: Path) -> None:
    report = make_report(out, out)
    assert report is not None
    report.write(out)
    rows = list(csv.DictReader(io.StringIO((out / "league.csv").read_text())))
    assert [row["recipe"] for row in rows] == ["shipped", "cwd", "none"]
    assert float(rows[1]["gap_closed"]) == pytest.approx(0.07 / 0.18)
    assert json.loads((out / "league.json").read_text())["rows"][2]["gain_none"] is None
    image = cv2.imread(str(out / "league.png"))
    assert image is not None
    assert image.std() > 5


def with_images(out: Path, runs: Path) -> None:
    """Two recipes whose images are known, on two seeds; the scores are those of the images."""
    for place, (recipe, skill) in enumerate([("none", 0.1), ("cwd", 0.9), ("mgd", 0.9)]):
        for seed in (0, 1):
            scores = random_scores(seed if place else seed + 50, 30, skill)
            write(out, recipe, seed, float(scores.mean_ap()[0]))
            folder = runs / f"{recipe}-s{seed}"
            folder.mkdir(parents=True)
            (folder / "images.npz").write_bytes(scores.to_bytes())


def test_verdicts_and_their_survival_on_another_machine(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    with_images(out, runs)
    first = make_report(out, runs)
    assert first is not None
    assert [line.partition(" (p")[0].partition(", p")[0] for line in first.verdicts()] == [
        "cwd, mgd: not separable", "cwd > none", "mgd > none",
    ]  # fmt: skip
    first.write(out)
    shutil.rmtree(runs)
    again = make_report(out, runs)
    assert again is not None
    assert again.pairs == first.pairs
    write(out, "mgd", 0, 0.123)  # retrained elsewhere: what was said about it does not hold
    changed = make_report(out, runs)
    assert changed is not None
    assert [{pair.better, pair.other} for pair in changed.pairs] == [{"cwd", "none"}]


def test_images_of_another_training_are_left_out(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    with_images(out, runs)
    write(out, "cwd", 0, 0.4321)
    report = make_report(out, runs)
    assert report is not None
    assert all(pair.seeds == (1,) for pair in report.pairs if "cwd" in (pair.better, pair.other))


def test_foreign_files(tmp_path: Path) -> None:
    assert make_report(tmp_path, tmp_path) is None
    (tmp_path / "x-s0.json").write_text("{}")
    with pytest.raises(InputError, match=r"x-s0\.json is no result of a league, it has no recipe, seed"):
        make_report(tmp_path, tmp_path)
    (tmp_path / "x-s0.json").write_text("{")
    with pytest.raises(InputError, match=r"x-s0\.json is no result of a league \("):
        make_report(tmp_path, tmp_path)
