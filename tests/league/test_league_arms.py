"""Arms at equal cost or with settings of their own, controls, several teachers: what a command plans and does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.cli.app import main as app
from kd_yolo.config.league import Recipe, parse_recipes
from kd_yolo.league.cost import at_its_cost
from kd_yolo.league.job import Job
from kd_yolo.league.plan import League, make_league
from kd_yolo.league.request import Request
from kd_yolo.yolo.files.loading import load_checkpoint
from tests.distill.test_exported_teacher import write_file
from tests.league.test_league_run import TRAIN, Here
from tests.league.test_league_table import write

ARMS = (
    "cwd",
    "none@2",
    "lr2=none:lr0=0.002,nbs=8",
    "dis3=shipped:dis=3",
    "r=cwd:teacher=random",
    "s=cwd:teacher=student",
)


@pytest.fixture(scope="module")
def league(tiny_data: Path, make_weights: Any, tiny_yaml: Any, tmp_path_factory: pytest.TempPathFactory) -> League:
    """Four seeds under two runs of the teacher."""
    folder = tmp_path_factory.mktemp("arms")
    arguments: dict[str, Any] = {"data": str(tiny_data), "epochs": 3, "imgsz": 64, "batch": 4, "device": "cpu"}
    arguments |= {"workers": 0, "optimizer": "AdamW", "nbs": 4, "lr0": 0.001, "dis": 6, "project": str(folder)}
    return make_league(
        Request(
            ARMS, (0, 1, 2, 3), make_weights(tiny_yaml(16), seed=1), tiny_yaml(8), 2, "x", arguments=arguments,
            teacher_seeds=(0, 5),
        )
    )  # fmt: skip


def test_what_is_planned(league: League) -> None:
    teachers = {job.name: job for job in league.teachers}
    assert list(teachers) == ["teacher", "teacher-s5", "teacher-random", "teacher-student"]
    assert [(job.kind, job.arguments["epochs"]) for job in league.teachers] == [
        ("plain", 2), ("plain", 2), ("random", 2), ("plain", 2),
    ]  # fmt: skip
    assert [teachers[name].arguments["seed"] for name in ("teacher", "teacher-s5")] == [0, 5]
    assert teachers["teacher-student"].weights == league.student
    jobs = {job.name: job for job in league.jobs}
    taught = {name: Path(job.teacher).parents[1].name for name, job in jobs.items() if job.teacher}
    assert [taught[f"cwd-s{seed}"] for seed in range(4)] == ["teacher", "teacher-s5", "teacher", "teacher-s5"]
    assert (taught["r-s1"], taught["s-s1"], "none@2-s0" in taught) == ("teacher-random", "teacher-student", False)
    assert [jobs[f"none-s{seed}"].settings["teacher"]["seed"] for seed in range(4)] == [0, 5, 0, 5]
    lr2, none, dis3, shipped = (jobs[f"{name}-s0"].arguments for name in ("lr2", "none", "dis3", "shipped"))
    assert (lr2["lr0"], lr2["nbs"], none["lr0"], none["nbs"]) == (0.002, 8, 0.001, 4)
    assert (dis3["dis"], shipped["dis"], "dis" in none) == (3, 6, False)
    assert jobs["lr2-s0"].settings["train"] == jobs["none-s0"].settings["train"]
    assert league.jobs[7].name == "none@2-s0"  # behind all others of its seed
    assert at_its_cost(jobs["none@2-s0"]).arguments["epochs"] == 6
    assert at_its_cost(jobs["none-s0"]) is jobs["none-s0"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"teacher_seeds": (0, 1, 2)}, "--teacher-seeds names 3 runs of the teacher for 4 --seeds"),
        ({"teacher_seeds": (0, 1), "teacher_epochs": 0}, "--teacher-seeds does nothing without --teacher-epochs"),
        ({"losses": ("s=cwd:teacher=student",), "teacher_epochs": 0}, "teacher=student does nothing without"),
        ({"losses": ("r=cwd:teacher=random",), "teacher": "yolov8s.yaml"}, "teacher=random needs weights"),
        ({"losses": ("a=none:lr0=fast",)}, "lr0='fast': expected"),
    ],
)  # fmt: skip
def test_what_does_not_fit(tiny_data: Path, more: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"losses": ("cwd",), "seeds": (0, 1, 2, 3), "teacher": "t.pt", "teacher_epochs": 2, **more}
    with pytest.raises(ConfigError) as error:
        make_league(Request(**given, arguments={"data": str(tiny_data)}))
    assert message in str(error.value)


def test_an_rtdetr_has_no_row_of_ultralytics_own(tiny_data: Path, make_weights: Any, tiny_yaml: Any) -> None:
    yaml = tiny_yaml(8, head="RTDETRDecoder")
    given: dict[str, Any] = {"seeds": (0,), "teacher": make_weights(yaml), "student": yaml, "name": "x"}
    arguments = {"data": str(tiny_data), "imgsz": 64}
    league = make_league(Request(("auto", "none@cost"), **given, arguments=arguments))
    assert [job.recipe.name for job in league.jobs] == ["none", "auto", "none@cost"]
    assert league.notes == ("no row 'shipped': ultralytics' own distillation takes no RT-DETR",)
    with pytest.raises(ConfigError, match="dis3: ultralytics' own distillation takes no RT-DETR"):
        make_league(Request(("auto", "dis3=shipped:dis=3"), **given, arguments=arguments))


def test_an_onnx_file_teaches_and_is_not_trained(tiny_data: Path, tiny_yaml: Any, tmp_path: Path) -> None:
    file = str(write_file(tmp_path / "t.onnx", (1, 6, 84), names="{0: 'c0', 1: 'c1'}"))
    given: dict[str, Any] = {"seeds": (0,), "teacher": file, "student": tiny_yaml(8), "name": "x"}
    arguments = {"data": str(tiny_data), "imgsz": 64}
    league = make_league(Request(("bkd", "none@cost"), **given, arguments=arguments))
    assert [job.recipe.name for job in league.jobs] == ["none", "bkd", "none@cost"]
    assert (league.teacher.kind, league.jobs[1].teacher) == ("score", file)
    assert league.notes == ("no row 'shipped': ultralytics' own distillation takes no ONNX file",)
    for losses, more, message in (
        (("cwd",), {}, "cwd: cwd compares features"),
        (("bkd",), {"teacher_epochs": 2}, "is an ONNX file, which is not trained"),
        (("r=bkd:teacher=random",), {}, "teacher=random needs weights whose network is made from scratch"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_league(Request(losses, **given, **more, arguments=arguments))


def cost_job(out: Path, cost: str, seed: int = 0) -> Job:
    return Job(
        kind="plain", recipe=Recipe(name=f"none@{cost}", cost=cost), seed=seed, weights="n.pt", data="d.yaml",
        split="val", arguments={"epochs": 10}, folder=out / "run", target=out / f"none@{cost}-s{seed}.json",
        settings={},
    )  # fmt: skip


def test_a_measured_cost(tmp_path: Path) -> None:
    """The dearest distilled row, on the first seed; later seeds train as long, whatever they would measure."""

    words = ["shipped3=shipped:dis=3", "cwd", "mgd=auto", "random=bkd:teacher=random", "none@2"]
    rows = {row.name: row.resolved() for row in parse_recipes(words)}

    def finish(recipe: str, seed: int, cpu: float, **more: Any) -> None:
        settings = {"recipe": rows[recipe], "teacher": {}}
        write(tmp_path, recipe, seed, 0.5, cpu_seconds=cpu, seconds=cpu * 3, settings=settings, **more)

    finish("none", 0, 100.0)
    for name in ("shipped", "shipped3", "random", "none@2"):
        finish(name, 0, 900.0)
    with pytest.raises(KDYoloError, match="'none' and a distilled row have to run on a seed first"):
        at_its_cost(cost_job(tmp_path, "cost"))
    finish("cwd", 0, 150.0)
    finish("mgd", 0, 181.0)
    assert at_its_cost(cost_job(tmp_path, "cost")).arguments["epochs"] == 19  # 18.1 epochs, rounded in its favour
    assert at_its_cost(cost_job(tmp_path, "cwd")).arguments["epochs"] == 15
    known = json.loads((tmp_path / "cost.json").read_text())
    assert known["none@cost"] == {"ratio": 1.81, "row": "mgd", "of": "cpu_seconds", "seed": 0}
    finish("none", 1, 100.0)
    finish("mgd", 1, 400.0)
    assert at_its_cost(cost_job(tmp_path, "cost", seed=1)).arguments["epochs"] == 19
    finish("none", 0, 100.0, cuda_peak_mib=500.0)  # on a GPU CPU time says nothing
    (tmp_path / "cost.json").unlink()
    at_its_cost(cost_job(tmp_path, "mgd"))
    assert json.loads((tmp_path / "cost.json").read_text())["none@mgd"]["of"] == "seconds"


@pytest.mark.slow
def test_a_league_with_everything(
    tiny_data: Path, make_weights: Any, tiny_yaml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    here = Here()
    monkeypatch.setattr("kd_yolo.league.run.launch", here)
    monkeypatch.chdir(tmp_path)
    claims = f"claims: [{{recipe: cwd, than: none@cost, sets: [{tiny_data.parent.name}], split: val}}]"
    (tmp_path / "claims.yaml").write_text(claims)
    words = ["league", "--losses", "cwd", "none@cost", *ARMS[2:], "--seeds", "0,1", "--teacher-seeds", "0,1"]
    words += ["--teacher", make_weights(tiny_yaml(16), seed=1), "--teacher-epochs", "1", "--student", tiny_yaml(8)]
    words += ["--claims", "claims.yaml", f"data={tiny_data}", "epochs=1", "--name", "all", *TRAIN]
    assert app(words) == 0
    printed = capsys.readouterr().out
    assert here.names[:4] == ["teacher", "teacher-s1", "teacher-random", "teacher-student"]
    assert here.names[11] == "none@cost-s0"
    assert "claims of claims.yaml: noted on " in printed
    assert "not shown: cwd minus none@cost > 0 on val: " in printed
    folder = tmp_path / "runs/league/all"
    ratio = json.loads((folder / "cost.json").read_text())["none@cost"]["ratio"]
    run = json.loads((folder / "none@cost-s1.json").read_text())
    assert run["epochs"] == max(1, -(-ratio // 1))
    assert len(run["commit"]) == 40
    assert json.loads((folder / "teacher-random.json").read_text())["control"] == "random"
    untrained, taught = (load_checkpoint(folder / f"{n}/weights/best.pt")[0] for n in ("teacher-random", "teacher"))
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (untrained, taught)]
    assert shapes[0] == shapes[1]
    assert untrained.names == taught.names
    assert not torch.equal(next(untrained.parameters()), next(taught.parameters()))
    saved = json.loads((folder / "league.json").read_text())
    assert list(saved["teacher_runs"]) == ["0", "1"]
    assert {tuple(item["drawn"]) for item in saved["comparisons"]} == {("teacher runs", "images")}
    (tmp_path / "claims.yaml").write_text(claims.replace("cwd", "r"))
    assert app(words) == 2
    assert "claims are written before the runs" in capsys.readouterr().err
    assert len(here.names) == 20
