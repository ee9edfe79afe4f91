"""The table by hand: paired gains, the share of the gap, relative costs; and what the report files hold."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from kd_yolo.base.errors import InputError
from kd_yolo.league.bootstrap import resample_images
from kd_yolo.league.report import make_report
from kd_yolo.league.results import read_results
from kd_yolo.league.table import make_rows
from tests.league.test_league_bootstrap import random_scores

SETTINGS = {
    "student": {"name": "n.pt"}, "teacher": {"name": "s.pt"}, "data": {"name": "bccd"}, "train": {"epochs": 15},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer draws: how good intervals are is test_league_intervals' question."""
    monkeypatch.setattr("kd_yolo.league.report.resample_images", partial(resample_images, resamples=60))
    monkeypatch.setattr("kd_yolo.league.intervals.DRAWS", 4000)


def write(out: Path, recipe: str, seed: int, score: float, **more: Any) -> None:
    out.mkdir(exist_ok=True, parents=True)
    run = {
        "recipe": recipe, "seed": seed, "split": "test", "images": 72, "map": score, "map50": score + 0.2,
        "settings": SETTINGS, **more,
    }  # fmt: skip
    name = "teacher" if recipe == "teacher" and not seed else f"{recipe}-s{seed}"
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
    assert "| teacher |  | 0.6000 |  |  |  |  |  |  |  |  |" in lines
    row = next(line for line in lines if line.startswith("| `cwd (cwd:weight=2)` | 2 | 0.5450 ± 0.0071 | 0.7450 |"))
    assert "| +0.0350 ± 0.0071 | -0." in row  # two seeds: the interval holds 0
    assert "| +0.0400 ± 0.0141 | +39% (-" in row
    assert row.endswith("%) | 1.20 x |  |  |")
    assert any(line.startswith("best.pt on 72 images of split 'test' of bccd; student n.pt") for line in lines)
    assert any("Here they account for seeds. One run of the teacher" in line for line in lines)
    assert any(line.startswith("- cwd, none: no difference shown, +0.0350 (-") for line in lines)


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


def test_curves_say_whether_longer_training_would_help(out: Path) -> None:
    rising, flat = [0.01 * epoch for epoch in range(20)], [0.1] * 20
    write(out, "none", 0, 0.50, curve=rising)
    write(out, "none", 1, 0.52, curve=[value + 0.1 for value in rising])
    write(out, "cwd", 0, 0.54, curve=flat)
    report = make_report(out, out)
    assert report is not None
    assert report.results.curves == {"cwd": flat, "none": pytest.approx([value + 0.05 for value in rising])}
    assert "the tenth before it, mean over the seeds: `cwd` +0.0000, `none` +0.0200.\n" in report.to_markdown()
    report.write(out)
    height = Image.open(out / "league.png").height
    for recipe, seed in (("none", 0), ("none", 1), ("cwd", 0)):
        write(out, recipe, seed, 0.5)
    report = make_report(out, out)
    assert report is not None
    assert "tenth" not in report.to_markdown()
    report.write(out)
    assert height > Image.open(out / "league.png").height


def with_images(out: Path, *, seeds: int = 3) -> None:
    """Three recipes whose images are known; the scores are those of the images."""
    for recipe, skill, shift in (("none", 0.1, 50), ("cwd", 0.9, 0), ("mgd", 0.9, 0), ("teacher", 0.95, 70)):
        for seed in range(1 if recipe == "teacher" else seeds):
            scores = random_scores(seed + shift, 30, skill)
            write(out, recipe, seed, float(scores.mean_ap()[0]))
            name = "teacher" if recipe == "teacher" else f"{recipe}-s{seed}"
            (out / f"{name}.npz").write_bytes(scores.to_bytes())


def test_comparisons_are_made_of_runs_and_images(tmp_path: Path) -> None:
    with_images(tmp_path)
    report = make_report(tmp_path, tmp_path / "nothing")
    assert report is not None
    found = {(item.recipe, item.control): item for item in report.comparisons}
    assert found.keys() == {("cwd", "none"), ("mgd", "none")}
    both = found["cwd", "none"]
    assert both == replace(found["mgd", "none"], recipe="cwd")
    assert (both.is_shown, both.drawn, both.family, both.seeds) == (True, ("seeds", "images"), 2, (0, 1, 2))
    assert str(both).startswith(f"cwd > none: {both.gain:+.4f} (")
    assert both.share_interval is not None
    assert both.share_interval.low < 1 < both.share_interval.high  # the teacher has their skill
    (tmp_path / "cwd-s1.npz").unlink()
    without = make_report(tmp_path, tmp_path / "nothing")
    assert without is not None
    (one,) = (item for item in without.comparisons if item.recipe == "cwd")
    assert one.drawn == ("seeds",)
    assert "seeds; or seeds and images" in without.method()
    row = next(row for row in report.rows if row.recipe == "cwd")
    assert both.interval is not None
    assert (row.gain_none_low, row.gain_none_high) == (both.interval.low, both.interval.high)
    assert f"| {row.gain_none_low:+.4f} to {row.gain_none_high:+.4f} |" in report.to_markdown()
    assert f"{row.gap_closed:+.0%} ({row.gap_closed_low:+.0%} to {row.gap_closed_high:+.0%})" in report.to_markdown()
    saved = json.loads(report.to_json())
    assert saved["comparisons"][0]["interval"] == {"low": both.interval.low, "high": both.interval.high}


def test_statistics_of_earlier_leagues_lie_beside_their_runs(tmp_path: Path) -> None:
    with_images(tmp_path / "out")
    for file in (tmp_path / "out").glob("*.npz"):
        (tmp_path / "runs" / file.stem).mkdir(parents=True)
        file.rename(tmp_path / "runs" / file.stem / "images.npz")
    report = make_report(tmp_path / "out", tmp_path / "runs")
    assert report is not None
    assert {item.drawn for item in report.comparisons} == {("seeds", "images")}


def test_images_of_another_training_are_left_out(tmp_path: Path) -> None:
    with_images(tmp_path)
    write(tmp_path, "cwd", 0, 0.4321)
    report = make_report(tmp_path, tmp_path)
    assert report is not None
    assert {item.recipe: item.drawn for item in report.comparisons} == {"cwd": ("seeds",), "mgd": ("seeds", "images")}


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    with_images(tmp_path, seeds=1)
    report = make_report(tmp_path, tmp_path)
    assert report is not None
    assert {item.interval for item in report.comparisons} == {None}
    assert "cwd, none: no interval from one repetition (+" in report.to_markdown()


def test_a_share_of_a_narrow_gap_is_not_shown(out: Path) -> None:
    write(out, "teacher", 0, 0.53)  # 0.01 above none, whose seeds are 0.02 apart
    report = make_report(out, out)
    assert report is not None
    assert {item.share_interval for item in report.comparisons} == {None}
    assert all(row.gap_closed_low is None for row in report.rows)
    assert "%)" not in report.to_markdown()


def test_every_control_has_a_family_of_its_own(out: Path) -> None:
    for seed in range(3):
        write(out, "none@1.8", seed, 0.53 + 0.01 * seed)
    report = make_report(out, out)
    assert report is not None
    pairs = {control: [] for control in ("none", "none@1.8", "shipped")}  # type: dict[str, list[str]]
    for item in report.comparisons:
        pairs[item.control].append(item.recipe)
        assert item.family == 3
    assert {control: sorted(names) for control, names in pairs.items()} == {
        "none": ["cwd", "none@1.8", "shipped"], "none@1.8": ["cwd", "none", "shipped"],
        "shipped": ["cwd", "none", "none@1.8"],
    }  # fmt: skip


def with_teachers(out: Path, teachers: tuple[int, ...], spread: float) -> None:
    """Six seeds; how good a student gets depends on which run of the teacher it had."""
    for place, teacher in enumerate(teachers):
        settings = {**SETTINGS, "teacher": {"name": "s.pt", "seed": teacher}}
        write(out, "teacher", teacher, 0.60 + spread * place, settings=settings)
    for seed in range(6):
        place = seed % len(teachers)
        settings = {**SETTINGS, "teacher": {"name": "s.pt", "seed": teachers[place]}}
        jitter = 0.001 * (seed // len(teachers) - 1)
        write(out, "none", seed, 0.50, settings=settings)
        write(out, "cwd", seed, 0.53 + spread * place + jitter, settings=settings)


def test_the_spread_of_teachers_is_in_the_interval(tmp_path: Path) -> None:
    """The seeds of one teacher say little about another one: a teacher with all its seeds is one repetition."""
    widths = {}
    for name, teachers in (("one", (0,)), ("three", (0, 4, 5))):
        with_teachers(tmp_path / name, teachers, 0.01)
        report = make_report(tmp_path / name, tmp_path)
        assert report is not None
        (found,) = report.comparisons
        assert found.interval is not None
        widths[name] = found.interval.high - found.interval.low
        assert found.drawn == (("seeds",) if name == "one" else ("teacher runs",))
        assert ("One run of the teacher" in report.method()) == (name == "one")
    gains = [0.03, 0.04, 0.05]
    expected = 2 * stats.t.ppf(0.975, 2) * np.std(gains, ddof=1) / 3**0.5
    assert widths["three"] == pytest.approx(expected, rel=0.1)
    assert widths["one"] < widths["three"] / 5
    assert read_results(tmp_path / "three").teacher == pytest.approx(0.61)


def test_teachers_of_controls_are_not_the_teacher(out: Path) -> None:
    """Their score lies beside that of the teacher; a gap is never measured to it."""
    for name in ("student", "random"):
        write(out, "teacher", 0, 0.1, control=name)
        (out / "teacher.json").rename(out / f"teacher-{name}.json")
    assert read_results(out).teacher is None
    write(out, "teacher", 0, 0.60)
    results = read_results(out)
    assert results.teacher == 0.60
    assert results.recipes == ["shipped", "cwd", "none"]


def test_foreign_files(tmp_path: Path) -> None:
    assert make_report(tmp_path, tmp_path) is None
    (tmp_path / "x-s0.json").write_text("{}")
    with pytest.raises(InputError, match=r"x-s0\.json is no result of a league, it has no recipe, seed"):
        make_report(tmp_path, tmp_path)
    (tmp_path / "x-s0.json").write_text("{")
    with pytest.raises(InputError, match=r"x-s0\.json is no result of a league \("):
        make_report(tmp_path, tmp_path)
