"""A real league on a few images: what it leaves, what it skips, refuses and goes on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.cli.app import main as app
from kd_yolo.league.images import ImageScores
from kd_yolo.league.job import Job
from kd_yolo.league.worker import work
from kd_yolo.yolo.files.loading import load_checkpoint
from tests.trust.strangers import opened_once

TRAIN = ["imgsz=64", "batch=4", "device=cpu", "workers=0", "optimizer=SGD", "nbs=4", "warmup_epochs=0"]
RUNS = ["none-s0", "shipped-s0", "cwd-s0"]


class Here:
    """Does the jobs in this process, which is quicker than a process for each, and notes their names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, job: Job) -> str | None:
        self.names.append(job.name)
        work(job)
        return None


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    launcher = Here()
    monkeypatch.setattr("kd_yolo.league.run.launch", launcher)
    return launcher


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the commands of this file are typed."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("league")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def words(tiny_data: Path, make_weights: Any, tiny_yaml: Any) -> Iterator[list[str]]:
    """The command; a rate near 0 keeps the weights as they were, only BatchNorm statistics follow the images."""
    flags = ["--losses", "cwd", "--seeds", "0", "--student", tiny_yaml(8), "--name", "tiny", "--out", "results"]
    teacher = make_weights(tiny_yaml(16), seed=1)
    with opened_once(teacher):
        yield ["league", *flags, "--teacher", teacher, f"data={tiny_data}", "epochs=1", "lr0=1e-30", *TRAIN]


@pytest.fixture(scope="module")
def done(words: list[str], base: Path) -> Path:
    """A finished league: the folder with ``results`` and ``runs``."""
    with pytest.MonkeyPatch.context() as patch:
        launcher = Here()
        patch.setattr("kd_yolo.league.run.launch", launcher)
        assert app(words) == 0
        assert launcher.names == ["teacher", *RUNS]
    return base


@pytest.fixture
def copy(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished league to break."""
    shutil.copytree(done, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_results(done: Path) -> None:
    names = {file.name for file in (done / "results").iterdir()}
    assert names == {f"{name}{end}" for name in (*RUNS, "teacher") for end in (".json", ".npz")} | {
        "league.md", "league.csv", "league.json", "league.png",
    }  # fmt: skip
    run = json.loads((done / "results/cwd-s0.json").read_text())
    assert (run["recipe"], run["loss"], run["seed"], run["split"], run["images"]) == ("cwd", "cwd", 0, "val", 8)
    assert run["settings"]["train"]["lr0"] == 1e-30
    assert run["settings"]["recipe"]["terms"][0]["loss"] == "cwd"
    assert run["seconds"] > 0
    assert run["cpu_seconds"] > 0
    assert run["peak_mib"] > 100
    assert len(run["curve"]) == 1
    assert {"torch", "ultralytics", "python"} <= set(run["versions"])
    assert run["machine"].endswith("cores, CPU")


def test_nothing_in_the_results_says_where_they_were_made(done: Path, tiny_data: Path) -> None:
    for file in (done / "results").glob("*.*"):
        if file.suffix not in (".png", ".npz"):
            text = file.read_text()
            assert str(done) not in text
            assert str(tiny_data.parent) not in text


def test_every_interval_can_be_computed_again_without_the_runs(copy: Path) -> None:
    for name in (*RUNS, "teacher"):
        file = copy / f"results/{name}.npz"
        assert float(ImageScores.read(file).mean_ap()[0]) == json.loads(file.with_suffix(".json").read_text())["map"]
        assert file.stat().st_size < 2e6
    before = (copy / "results/league.json").read_text()
    shutil.rmtree(copy / "runs")
    assert app(["league", "--table", "--name", "tiny", "--out", "results"]) == 0
    assert (copy / "results/league.json").read_text() == before


def test_all_start_from_the_same_weights_and_see_the_same_images(done: Path) -> None:
    """With a rate of 0: weights are the initial ones, BatchNorm statistics tell which images came in which order."""
    states = [load_checkpoint(done / f"runs/league/tiny/{name}/weights/best.pt")[0].state_dict() for name in RUNS]
    fresh = load_checkpoint(done / "runs/league/tiny/none-s0/weights/best.pt")[0]
    assert any("running_mean" in key and value.abs().sum() > 0 for key, value in fresh.state_dict().items())
    for other in states[1:]:
        assert other.keys() == states[0].keys()
        assert [key for key, value in states[0].items() if not torch.equal(value, other[key])] == []


def test_again_nothing_is_trained(done: Path, words: list[str], here: Here, capsys: Any) -> None:
    before = snapshot(done)
    assert app(words) == 0
    assert here.names == []
    assert {k: v for k, v in snapshot(done).items() if "league." not in k} == {
        k: v for k, v in before.items() if "league." not in k
    }
    printed = capsys.readouterr().out
    assert "| `cwd` | 1 | 0.0000 |" in printed
    assert "(league.md, league.csv, league.json, league.png)" in printed
    assert "next:    " in printed


def test_a_result_that_is_gone_is_made_again(copy: Path, words: list[str], here: Here) -> None:
    file = copy / "results/cwd-s0.json"
    before, weights = json.loads(file.read_text()), (copy / "runs/league/tiny/cwd-s0/weights/best.pt").read_bytes()
    file.unlink()
    assert app(words) == 0
    assert here.names == ["cwd-s0"]
    assert json.loads(file.read_text()) == before  # scored again, with what its training had cost
    assert (copy / "runs/league/tiny/cwd-s0/weights/best.pt").read_bytes() == weights


def test_results_from_another_machine_are_enough(copy: Path, words: list[str], here: Here) -> None:
    shutil.rmtree(copy / "runs")
    assert app(words) == 0
    assert here.names == []


def test_changed_settings_are_refused(copy: Path, words: list[str], here: Here, capsys: Any) -> None:
    before = snapshot(copy)
    assert app([*words, "epochs=2"]) == 2
    printed = capsys.readouterr().err
    assert "teacher, none-s0, shipped-s0 and 1 more:\n    train.epochs: 1 -> 2" in printed
    assert app([*words, "--seeds", "5", "imgsz=96"]) == 2  # no run of that seed, but others in the same table
    assert "train.imgsz: 64 -> 96" in capsys.readouterr().err
    assert app([*words, "--seeds", "5", "--student", "yolov8s.yaml"]) == 2
    assert "cwd-s0, none-s0, shipped-s0:\n    student.name: " in capsys.readouterr().err
    for name in ("results", "runs/league/tiny/cwd-s0"):  # a run that was started and not finished
        shutil.rmtree(copy / name)
    assert app([*words, "epochs=2"]) == 2
    assert app([word.replace("cwd", "cwd=cwd:weight=2") for word in words]) == 2
    assert "recipe.terms: " in capsys.readouterr().err
    assert here.names == []
    assert {k: v for k, v in before.items() if k in snapshot(copy)} == snapshot(copy)


def test_a_league_of_before_kept_test_results_in_its_folder(
    copy: Path, words: list[str], here: Here, capsys: Any
) -> None:
    """It had no ``--split`` and went to the test split where there was one; ``--split test`` goes on with it."""
    own = [word for word in words if word not in ("--out", "results")]
    folder = copy / "runs/league/tiny"
    for file in (*(copy / "results").glob("*-s0.json"), copy / "results/teacher.json"):
        text = json.loads(file.read_text())
        text["split"] = text["settings"]["data"]["split"] = "test"
        (folder / file.name).write_text(json.dumps(text))
    assert app(own) == 2
    assert 'data.split: "test" -> "val"' in (printed := capsys.readouterr().err)
    assert "Those of --split test are here: add that, or another --out." in printed
    assert app(["league", "--table", "--name", "tiny", "--split", "test"]) == 0
    assert (folder / "league.md").is_file()
    assert here.names == []


def test_another_teacher_is_refused(copy: Path, words: list[str], make_weights: Any, capsys: Any) -> None:
    assert app([*words, "--teacher", make_weights("tiny16", seed=2)]) == 2
    assert "teacher.sha256: " in capsys.readouterr().err


def test_a_dry_run_lists_what_is_missing(copy: Path, words: list[str], here: Here, capsys: Any) -> None:
    (copy / "results/cwd-s0.json").unlink()
    before = snapshot(copy)
    assert app([*words, "--dry-run", "--seeds", "0,1"]) == 0
    printed = capsys.readouterr().out
    assert "4 of 7 runs are missing" in printed
    assert "  cwd-s0: goes on from its last.pt\n  none-s1: none\n  shipped-s1: shipped\n  cwd-s1: cwd\n" in printed
    assert here.names == []
    assert snapshot(copy) == before


def test_the_table_alone(copy: Path, here: Here, capsys: Any) -> None:
    assert app(["league", "--table", "--name", "tiny", "--out", "results"]) == 0
    assert "| `shipped` | 1 |" in capsys.readouterr().out
    assert here.names == []
    assert app(["league", "--table", "--name", "nothing"]) == 3
    assert "has no finished run" in capsys.readouterr().err
    assert app(["league", "--table"]) == 2
    assert "which league? Say its --name" in capsys.readouterr().err


def test_a_failed_run_does_not_end_the_others(
    copy: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("none", "cwd"):
        (copy / f"results/{name}-s0.json").unlink()
    real = Here()
    monkeypatch.setattr("kd_yolo.league.run.launch", lambda job: "it broke" if job.recipe.name == "none" else real(job))
    assert app(words) == 1
    printed = capsys.readouterr()
    assert real.names == ["cwd-s0"]
    assert "1 run(s) failed:\n  none-s0: it broke\nThe same command tries them again: kd-yolo league" in printed.err
    assert "| `cwd` | 1 |" in printed.out
    assert not (copy / "results/none-s0.json").exists()


def test_ctrl_c(copy: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def stop(_job: Job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kd_yolo.league.run.launch", stop)
    (copy / "results/cwd-s0.json").unlink()
    assert app(words) == 130
    assert "continue with: kd-yolo league --losses cwd --seeds 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--losses", "cwdd"], 2, "unknown loss 'cwdd'. Did you mean 'cwd'?"),
        (["--losses"], 2, "--losses is missing"),
        (["--seeds", "0,0"], 2, "--seeds is '0,0'"),
        (["--teacher-epochs", "-1"], 2, "--teacher-epochs is -1"),
        (["--student", "nothing.pt"], 3, "nothing.pt"),
        (["epohcs=1"], 2, "Did you mean 'epochs'?"),
        (["seed=1"], 2, "seed=1: write --seeds 1"),
        (["name=x"], 2, "'name=' is set by --name here."),
        (["device=0,1"], 2, "give one device"),
        (["data=none.yaml"], 3, "none.yaml does not exist"),
    ],
)
def test_wrong_words(
    words: list[str], tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch, capsys: Any,
    more: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    try:
        found = app([*words, *more])
    except SystemExit as stop:  # of the parser
        found = int(stop.code or 0)
    assert found == code
    assert message in capsys.readouterr().err
    assert (here.names, list(tmp_path.iterdir())) == ([], [])


def test_a_teacher_is_needed_and_has_to_know_the_data(
    words: list[str], make_weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    place = words.index("--teacher")
    assert app([*words[:place], *words[place + 2 :]]) == 2
    assert "--teacher yolov8s.pt --teacher-epochs 20" in capsys.readouterr().err
    assert app([*words, "--teacher", make_weights("tiny16", classes=5)]) == 3
    assert "has 5 classes, " in (printed := capsys.readouterr().err)
    assert "--teacher-epochs 20" in printed
    assert app([*words, "--teacher", "yolov8s.yaml"]) == 2
    assert "has learnt nothing yet: add --teacher-epochs 20" in capsys.readouterr().err
