"""The demo: what counts as a gain, its table and its exit code; a tiny one from start to end (slow)."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from benchmarks import demo_seeds
from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.files import write_json
from kd_yolo.builtin.shapes_set import make_shapes
from kd_yolo.cli import demo as command
from kd_yolo.data.check import check_detection_data
from kd_yolo.data.unlabelled import find_unlabelled
from kd_yolo.pipeline.demo import closing
from kd_yolo.pipeline.demo.closing import closing_table, find_gains, verdict
from kd_yolo.pipeline.demo.train import CONTROL, FACTOR, TIMES, TITLES, Demo, DemoPlan, Trained, write_few
from kd_yolo.report.comparison import print_whole, setup
from kd_yolo.yolo.files.loading import load_checkpoint

GOOD = {
    "teacher": 0.5, "alone": 0.2, "alone_equal_cost": 0.25, "distilled": 0.35,
    "pruned": 0.3, "pruned_equal_cost": 0.38, "pruned_distilled": 0.36,
}  # fmt: skip


def test_gains_are_over_equal_epochs_equal_cost_and_the_gap() -> None:
    student, pruned = find_gains(GOOD)
    assert (student.name, pruned.name) == ("distilled", "pruned_distilled")
    assert student.equal_epochs == pytest.approx(0.15)
    assert student.equal_cost == pytest.approx(0.10)
    assert student.gap_share == pytest.approx(0.5)
    assert (pruned.equal_epochs, pruned.equal_cost) == (pytest.approx(0.06), pytest.approx(-0.02))


def test_what_was_not_shown_is_said() -> None:
    first, second = verdict(find_gains(GOOD))
    assert "+0.150 at equal epochs (50% of the gap to the teacher), +0.100 at equal cost" in first
    assert "not shown" not in first
    assert second.endswith("-0.020 at equal cost: not shown")


@pytest.mark.parametrize(
    "change",
    [
        {"distilled": 0.2},  # no better than alone
        {"distilled": 0.25},  # no better at equal cost, after pruning neither
    ],
)
def test_no_gain_is_an_error(change: dict[str, float]) -> None:
    with pytest.raises(KDYoloError, match=r"^the demo showed no gain\.\n.*not shown") as error:
        verdict(find_gains({**GOOD, **change}))
    assert error.value.exit_code == 1


def fake_measured() -> dict[str, dict[str, float]]:
    numbers = dict(zip(TITLES, range(1, 8), strict=True))
    return {
        name: {"parameters": 1e6 * n, "gflops": 0.1 * n, "p50_ms": 1.0 * n, "p90_ms": 1.5 * n}
        for name, n in numbers.items()
    }


def trained(scores: dict[str, float]) -> list[Trained]:
    return [Trained(name, 3, 7.4, score) for name, score in scores.items()]


def test_equal_networks_have_equal_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(files: list[Path], **settings: object) -> Any:
        assert [file.stem for file in files] == ["teacher", "alone", "pruned"]
        return SimpleNamespace(records=lambda: [dict.fromkeys((*closing.MEASURED, "more"), n) for n in range(3)])

    monkeypatch.setattr(closing, "compare", compare)
    measured = closing.measure(Demo(tmp_path, DemoPlan(), print), print)
    assert {name: record["gflops"] for name, record in measured.items()} == {
        "teacher": 0, "alone": 1, "alone_equal_cost": 1, "distilled": 1,
        "pruned": 2, "pruned_equal_cost": 2, "pruned_distilled": 2,
    }  # fmt: skip
    assert all(set(record) == set(closing.MEASURED) for record in measured.values())


def test_the_table_has_a_row_per_network() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(closing_table(trained(GOOD), fake_measured()))
    head, *rows = console.export_text().splitlines()
    assert re.split(r"\s{2,}", head.strip()) == ["network", *closing.COLUMNS]
    assert [row[:32].strip() for row in rows] == list(TITLES.values())
    assert re.split(r"\s{2,}", rows[1].strip()) == [
        "student alone", "3", "7", "0.200", "2.00", "0.200", "2.00", "3.00",
    ]  # fmt: skip


def test_no_number_is_cut_off_in_a_narrow_terminal() -> None:
    narrow, wide = (Console(width=width, record=True, file=io.StringIO()) for width in (40, 200))
    for console in (narrow, wide):
        print_whole(closing_table(trained(GOOD), fake_measured()), console)
    assert narrow.export_text().split() == wide.export_text().split()


@pytest.mark.parametrize(("distilled", "code"), [(0.35, 0), (0.2, 1)])
def test_the_exit_code(
    distilled: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained or timed: the trainings give these scores."""
    scores = {**GOOD, "distilled": distilled}

    def train(self: Demo) -> list[Trained]:
        self.data = "data.yaml"
        return trained(scores)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Demo, "train", train)
    monkeypatch.setattr(closing, "measure", lambda demo, say: fake_measured())
    monkeypatch.setattr(closing, "draw", lambda demo: None)
    assert command.main(["--seed", "4"]) == code
    printed = capsys.readouterr()
    assert "student distilled" in printed.out
    assert ("the demo showed no gain" in printed.err) == bool(code)
    kept = json.loads(next(tmp_path.rglob("demo.json")).read_text())
    assert kept["plan"]["seed"] == 4
    assert kept["rows"]["distilled"]["score"] == distilled
    assert kept["setup"] == setup()


def test_the_students_have_the_labels_of_the_first_images(tmp_path: Path) -> None:
    made = make_shapes(tmp_path / "set", "smoke")
    few, rest = write_few(made.data_yaml, 4)
    report = check_detection_data(few)
    assert {split: found.images for split, found in report.splits.items()} == {"train": 4 * TIMES, "val": 6}
    labelled = set(few.with_name("few.txt").read_text().split())
    assert len(labelled) == 4
    without = find_unlabelled(str(rest), frames_dir=tmp_path).files
    assert len(without) == 8
    assert not {file.name for file in without} & {Path(file).name for file in labelled}


def test_the_table_of_seeds_says_which_claims_hold(tmp_path: Path) -> None:
    for seed, distilled in enumerate([0.35] * 7 + [0.2] * 3):
        scores = {**GOOD, "distilled": distilled}
        rows = {name: {"score": score} for name, score in scores.items()}
        body = {"plan": {"seed": seed}, "rows": rows, "gains": [asdict(gain) for gain in find_gains(scores)]}
        write_json(tmp_path / f"seed{seed}.json", body)
    lines = demo_seeds.table(tmp_path).splitlines()
    assert lines[2:4] == [f"| {n} | 0.500 | 0.200 | 0.250 | 0.350 | 0.300 | 0.380 | 0.360 |" for n in range(2)]
    assert lines[-6:] == [
        "1. the teacher has .35 or more: 10 of 10 seeds",
        "2. the student gains a third of the gap or more at equal epochs: 7 of 10 seeds: not shown",
        "3. the student gains at equal cost: 7 of 10 seeds: not shown",
        "4. the pruned network gains at equal epochs: 10 of 10 seeds",
        "5. the pruned network gains at equal cost: 0 of 10 seeds: not shown",
        "control, distilled on the labelled images alone: no seed was trained",
    ]
    write_json(tmp_path / "labelled_only" / "seed1.json", {"row": {"score": 0.25}})
    assert demo_seeds.table(tmp_path).endswith("the images without labels bring +0.100 (mean of 1 seeds)")


@pytest.mark.slow
def test_a_tiny_demo_from_start_to_end(tmp_path: Path) -> None:
    """Too short to learn anything: every network is there, and nothing is trained twice."""
    plan, printed = DemoPlan(teacher=1, student=1, pruned=1, labelled=4, preset="smoke", imgsz=64), []
    demo = Demo(tmp_path, plan, printed.append)
    made = demo.train()
    assert [one.name for one in made] == list(TITLES)
    assert all(one.cost_s > 0 for one in made)
    sizes = {
        one.name: sum(p.numel() for p in load_checkpoint(tmp_path / f"{one.name}.pt")[0].parameters()) for one in made
    }
    assert sizes["alone"] == sizes["alone_equal_cost"] == sizes["distilled"] < sizes["teacher"] / 3
    assert sizes["pruned"] == sizes["pruned_equal_cost"] == sizes["pruned_distilled"]
    assert sizes["pruned"] == pytest.approx((1 - FACTOR) ** 2 * sizes["teacher"], rel=0.05)  # in and out channels
    assert next(one for one in made if one.name == "alone_equal_cost").epochs >= 1
    assert "".join(printed).count("mAP50-95") == len(TITLES)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("best.pt")}
    assert Demo(tmp_path, plan, printed.append).train() == made
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("best.pt")} == before
    assert closing.draw(demo).is_file()
    assert demo.labelled_only().cost_s > 0
    columns = {
        name: (tmp_path / name / "distill" / "results.csv").read_text().split("\n")[0]
        for name in ("distilled", CONTROL)
    }
    assert [name for name, head in columns.items() if "unlabelled" in head] == ["distilled"]
