"""The teacher is measured before the run, the student by class after it, and beside it the student alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from kd_yolo.base.errors import InputError
from kd_yolo.cli.distill import main
from kd_yolo.distill import plots, scores
from kd_yolo.distill.scores import Measuring, Score, gain_lines, measure_start, measured_teachers, unfamiliar
from kd_yolo.yolo.evaluate import validate

NAMES = ["c0", "c1"]


def named(build: Callable[..., Any], tiny_yaml: Callable[..., str], names: list[str]) -> Any:
    model = build(tiny_yaml(8), classes=len(names))
    model.names = dict(enumerate(names))
    model.args = {"data": "data.yaml"}
    return model


def test_a_score_is_the_validators_and_leaves_random_numbers_alone(teacher: str, tiny_data: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    found = Measuring(str(tiny_data), 64, 16, "cpu").score(teacher)
    assert torch.equal(torch.rand(1), expected)
    assert found.all == validate(teacher, tiny_data, imgsz=64, batch=16, device="cpu")["metrics/mAP50-95(B)"]
    assert found.all == pytest.approx(sum(found.by_class.values()) / len(found.by_class))
    assert set(found.by_class) == set(NAMES)  # the data's, as this teacher has none


def start_lines(monkeypatch: pytest.MonkeyPatch, build: Any, tiny_yaml: Any, **found: Any) -> list[str]:
    """Lines of a start at which the teacher and the student have these scores."""
    student, teacher = named(build, tiny_yaml, NAMES), named(build, tiny_yaml, NAMES)

    def score(_: Measuring, network: Any, limit_s: float = 0.0) -> Score:
        assert limit_s == 60
        value = found["teacher" if network is teacher else "student"]
        if value is None:
            raise scores.TooLong
        return Score(value, {"c0": value})

    monkeypatch.setattr(Measuring, "score", score)
    start = student if "student" in found else None
    values, lines = measure_start(Measuring("d.yaml", 64), {"t.pt": teacher}, student, start)
    json.dumps(values)
    return lines


def test_a_start_of_other_channels_is_not_measured(monkeypatch: pytest.MonkeyPatch, build: Any, tiny_yaml: Any) -> None:
    """A student of colour images that is re-made for grey data: it cannot see them as it is."""
    monkeypatch.setattr(Measuring, "score", lambda *_: Score(0.5, {}))
    grey, colour = (build(tiny_yaml(8), channels=channels) for channels in (1, 3))
    grey.names = colour.names = dict(enumerate(NAMES))
    assert measure_start(Measuring("d.yaml", 64), {"t.pt": grey}, grey, grey)[0]["student_start"] == 0.5
    assert measure_start(Measuring("d.yaml", 64), {"t.pt": grey}, grey, colour)[0]["student_start"] == 0
    with pytest.raises(InputError, match="the teacher takes 3-channel images, the student 1-channel ones"):
        measure_start(Measuring("d.yaml", 64), {"t.pt": colour}, grey, grey)


def test_a_teacher_that_is_not_better_is_said(monkeypatch: pytest.MonkeyPatch, build: Any, tiny_yaml: Any) -> None:
    def lines(**found: Any) -> list[str]:
        return start_lines(monkeypatch, build, tiny_yaml, **found)

    assert lines(teacher=0.5) == ["the teacher t.pt has 0.5000 mAP50-95 on val"]
    assert lines(teacher=0.5, student=0.4)[1:] == ["the student starts at 0.4000 mAP50-95 on val"]
    weak = "the teacher t.pt is not better than the student at its start (0.5000 against 0.6000): it has little to"
    assert lines(teacher=0.5, student=0.6)[2].startswith(weak)
    assert lines(teacher=0.0)[1].startswith("the teacher t.pt is not better than the student at its start (0.0000")
    assert lines(teacher=None, student=0.6) == ["the teacher t.pt is not measured: val takes longer than 60 s"]


def test_a_teacher_of_other_classes_is_said(build: Any, tiny_yaml: Any) -> None:
    student = named(build, tiny_yaml, NAMES)
    assert unfamiliar("t", named(build, tiny_yaml, NAMES), student) is None
    assert unfamiliar("t", named(build, tiny_yaml, ["cat"]), student) == (
        "the teacher t has never seen these classes: none of its 1 is one of the data's"
    )
    assert unfamiliar("t", named(build, tiny_yaml, ["c1", "cat", "dog"]), student) == (
        "the teacher t knows 1 of 2 classes, and 2 others: its mAP on val is not measured"
    )


def test_validation_stops_at_its_limit(teacher: str, tiny_data: Path) -> None:
    with pytest.raises(scores.TooLong):
        Measuring(str(tiny_data), 64, 16, "cpu").score(teacher, limit_s=-1)


def test_the_image_shows_the_teacher_and_the_student_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "epoch,train/kd_cwd,metrics/mAP50(B),metrics/mAP50-95(B)\n1,0.5,0.2,0.1\n2,0.4,0.4,0.3\n"
    (tmp_path / "alone").mkdir()
    for folder in (tmp_path, tmp_path / "alone"):
        (folder / "results.csv").write_text(rows)
    (tmp_path / "balance.csv").write_text("epoch,loss_share,gradient_share\n1,0.1,0.3\n2,0.2,0.7\n")
    measured = {"teachers": {"t.pt": {"map50_95": 0.45, "by_class": {}}}, "student_start": 0.0}
    (tmp_path / "run.json").write_text(json.dumps({"measured": measured}))
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "write_figure", lambda path, figure: figures.append(figure))
    plots.draw_distillation(tmp_path)
    lines = {str(line.get_label()): list(line.get_ydata()) for line in figures[0].axes[2].lines}
    assert lines["t.pt, mAP50-95"] == [0.45, 0.45]
    assert lines["alone, mAP50-95"] == [0.1, 0.3]


def test_gains_by_class(tmp_path: Path) -> None:
    student, alone = Score(0.5, {"c0": 0.6, "c1": 0.4}), Score(0.45, {"c0": 0.5})
    assert gain_lines(tmp_path, student, None) == []  # nothing to compare with
    lines = gain_lines(tmp_path, student, alone)
    assert lines[1:5] == [
        "  class   alone  student",
        "  c0     0.5000   0.6000",
        "  c1              0.4000",
        "  all    0.4500   0.5000",
    ]
    assert lines[5].startswith(
        "under the teacher +0.0500 against the same training alone, at equal epochs and one seed"
    )
    with (tmp_path / "gains.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == ["c0", "0.5000", "0.6000"]


def test_a_run_with_its_baseline(
    tmp_path: Path, teacher: str, student: str, tiny_data: Path, capsys: Any, logged: list[str]
) -> None:
    """Measured before, trained alone after; killed in between, ``--resume`` of the finished run does the rest."""
    place = [f"data={tiny_data}", "epochs=1", "imgsz=64", "batch=4", "device=cpu", "workers=0", "plots=False"]
    words = ["--teacher", teacher, "--student", student, "--name", "run", "--baseline", *place, f"project={tmp_path}"]
    calls: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kd_yolo.distill.alone.train_alone", lambda folder, *_, **__: calls.append(folder))
        assert main(words) == 0
    folder = tmp_path / "run"
    assert calls == [folder]
    assert not (folder / "alone").exists()
    name = Path(teacher).name
    assert measured_teachers(folder)[name].all == Measuring(str(tiny_data), 64, 8, "cpu").score(teacher).all
    assert any(f"kd-yolo: the teacher {name} has " in line for line in logged)
    capsys.readouterr()
    assert main(["--resume", str(folder / "weights" / "last.pt")]) == 0
    printed = capsys.readouterr().out
    assert "against the same training alone, at equal epochs and one seed" in printed
    assert "  class  teacher   alone  student\n" in printed
    own, other = (json.loads((path / "run.json").read_text()) for path in (folder, folder / "alone"))
    assert (own["seed"], own["data_sha256"]) == (other["seed"], other["data_sha256"])
    assert main(["--resume", str(folder / "weights" / "last.pt")]) == 3  # now there is nothing left


def test_no_teacher_val(tmp_path: Path, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "validate", lambda *_, **__: pytest.fail("it was measured"))
    train(loss="cwd", teacher_val=False, epochs=1, finish=True, val=False)
    assert measured_teachers(tmp_path / "run") == {}


def test_a_dry_run_says_that_the_classes_are_others(
    student: str, make_weights: Any, tiny_yaml: Any, tiny_data: Path, capsys: Any
) -> None:
    five = make_weights(tiny_yaml(16), classes=5)
    words = ["--teacher", five, "--student", student, f"data={tiny_data}", "imgsz=64", "device=cpu", "--dry-run"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "loss auto: cwd, as teacher and data share no class" in printed
    assert f"the teacher {Path(five).name} has never seen these classes: none of its 5 is one of the data's" in printed
