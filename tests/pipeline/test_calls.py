"""The customer's way of calling: names, targets without a name, and what wrong calls are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_yolo import PruneModel
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.pipeline import stages
from kd_yolo.pipeline.calls import data_and_target, factor_and_target
from kd_yolo.pipeline.step import Step

TRAIN: dict[str, Any] = {"imgsz": 64, "batch": 4, "device": "cpu"}
Ran = list[stages.Job]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, make_weights: Any) -> Ran:
    """Stages that only note their job; each "makes" the same weights."""
    jobs: Ran = []

    def check(job: stages.Job) -> None:
        if job.settings.get("data") == "none.yaml":
            raise InputError("none.yaml does not exist")

    def note(job: stages.Job) -> Step:
        jobs.append(job)
        return Step(job.stage, Path(make_weights("tiny8")))

    monkeypatch.setattr(stages.Job, "check_inputs", check)
    monkeypatch.setattr(stages, "check_data_arguments", lambda _: None)  # there is no data here
    for name in ("retrain", "sparse_train", "prune", "distill"):
        monkeypatch.setattr(stages, name, note)
    return jobs


@pytest.fixture
def model(make_weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: Ran) -> PruneModel:
    monkeypatch.chdir(tmp_path)
    return PruneModel(weights=make_weights("tiny8"), folder="run", data="d.yaml", **TRAIN)


# Call, what its stage is told, and the file that is written.
CALLS: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "sparse, target": (lambda m: m.sparse_train("w/s.pt"), {"data": "d.yaml", "sparsity": 0.5}, "w/s.pt"),
    "sparse, target and data": (lambda m: m.sparse_train("w/s.pt", data="e.yaml"), {"data": "e.yaml"}, "w/s.pt"),
    "sparse, target and data_path": (
        lambda m: m.sparse_train("w/s.pt", data_path="e.yaml"), {"data": "e.yaml"}, "w/s.pt"
    ),
    "sparse, data first": (lambda m: m.sparse_train("e.yaml", 3, 0.2, "w/s.pt"), {"data": "e.yaml", "epochs": 3,
                                                                                    "sparsity": 0.2}, "w/s.pt"),
    "sparse, a Path": (lambda m: m.sparse_train(Path("w/s.pt"), epochs=2), {"epochs": 2}, "w/s.pt"),
    "sparse, by name": (lambda m: m.sparse_train(data="e.yaml", save_dir="w/s.pt"), {"data": "e.yaml"}, "w/s.pt"),
    "train, target": (lambda m: m.train("w/r.pt"), {"data": "d.yaml", "epochs": 50}, "w/r.pt"),
    "train, sparse": (lambda m: m.train("w/r.pt", loss_type="sparse", epochs=1), {"sparsity": 0.5}, "w/r.pt"),
    "base, target": (lambda m: m.base_train("w/b.pt"), {"data": "d.yaml"}, "w/b.pt"),
    "prune, factor": (lambda m: m.prune(0.3), {"factor": 0.3}, None),
    "prune, target": (lambda m: m.prune("w/p.pt"), {"factor": None}, "w/p.pt"),
    "prune, target and factor": (lambda m: m.prune("w/p.pt", factor=0.3), {"factor": 0.3}, "w/p.pt"),
    "prune, both": (lambda m: m.prune(0.3, "w/p.pt"), {"factor": 0.3}, "w/p.pt"),
    "prune, by name": (lambda m: m.prune(factor=0.2, save_dir="w/p.pt"), {"factor": 0.2}, "w/p.pt"),
    "prune, data_path": (lambda m: m.prune(0.3, data_path="e.yaml", importance="l2"), {"data": "e.yaml"}, None),
    "distill, the article": (
        lambda m: m.distill("t.pt", "mgd", "w/d.pt"), {"teacher": "t.pt", "loss": "mgd", "data": "d.yaml"}, "w/d.pt"
    ),
    "distill, data third": (lambda m: m.distill("t.pt", "cwd", "e.yaml", 7), {"data": "e.yaml", "epochs": 7}, None),
    "distill, t_weight": (lambda m: m.distill(t_weight="t.pt", loss_type="mgd"), {"teacher": "t.pt"}, None),
    "distill, loss": (lambda m: m.distill("t.pt", loss="mgd"), {"loss": "mgd"}, None),
    "distill, default": (lambda m: m.distill("t.pt"), {"loss": None, "epochs": 100}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls(model: PruneModel, ran: Ran, name: str, tmp_path: Path) -> None:
    call, told, target = CALLS[name]
    step = call(model)
    settings = ran[-1].settings
    assert {key: settings[key] for key in told} == told
    assert {"data_path", "t_weight", "weights", "loss_type"}.isdisjoint(settings)
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.pt")]
    assert written == ([target] if target else [])
    if target:
        assert Path(target).read_bytes() == step.path.read_bytes()


# Call and what its message has to hold.
WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "two data": (lambda m: m.train("a.yaml", data="b.yaml"), ("two data sets", "'a.yaml'", "data='b.yaml'")),
    "two names": (lambda m: m.train(data="a.yaml", data_path="b.yaml"), ("data='a.yaml'", "data_path='b.yaml'")),
    "two targets": (lambda m: m.train("a.pt", save_dir="b.pt"), ("two files to write", "'a.pt'", "save_dir='b.pt'")),
    "a target as data": (lambda m: m.sparse_train(data="a.pt"), ("data='a.pt'", "save_dir=")),
    "a target as data_path": (lambda m: m.sparse_train(data_path="a.pt"), ("data='a.pt'", "save_dir=")),
    "two teachers": (lambda m: m.distill("a.pt", t_weight="b.pt"), ("teacher='a.pt'", "t_weight='b.pt'")),
    "two factors": (lambda m: m.prune(0.2, factor=0.3), ("0.2", "factor=0.3")),
    "prune, two targets": (lambda m: m.prune("a.pt", "b.pt"), ("'a.pt'", "save_dir='b.pt'")),
    "prune, swapped": (lambda m: m.prune("a.pt", 0.3), ("save_dir='0.3'",)),
    "prune, number as target": (lambda m: m.prune(0.2, 0.3), ("save_dir is '0.3'", "weights/prune.pt")),
    "a file as the loss": (lambda m: m.distill("t.pt", "w/d.pt"), ("loss_type is 'w/d.pt'", "save_dir")),
    "other suffix": (lambda m: m.train("w/r.pth"), ("'w/r.pth'", "weights/prune.pt")),
    "sparcity": (lambda m: m.sparse_train(sparcity=0.3), ("sparse_train()", "Did you mean 'sparsity'?")),
    "save_dri": (lambda m: m.train(save_dri="a.pt"), ("train()", "Did you mean 'save_dir'?")),
    "teachr": (lambda m: m.distill(teachr="a.pt"), ("distill() needs a teacher",)),
    "t_wieght": (lambda m: m.distill("a.pt", t_wieght="b.pt"), ("Did you mean 't_weight'?",)),
    "data_paht": (lambda m: m.prune(0.2, data_paht="a.yaml"), ("prune()", "Did you mean 'data_path'?")),
    "epohcs": (lambda m: m.train(epohcs=3), ("Did you mean 'epochs'?",)),
    "ptience": (lambda m: m.train(ptience=3), ("Did you mean 'patience'?",)),
    "project": (lambda m: m.train(project="x"), ("folder=",)),
    "resume": (lambda m: m.train(resume=True), ("the same call in the same folder",)),
    "evaluate": (lambda m: m.evaluate("d", iou_mn=0.5), ("evaluate()", "Did you mean 'iou_min'?")),
    "weight": (lambda _: PruneModel(weight="a.pt"), ("PruneModel()", "Did you mean 'weights'?")),
    "wieghts": (lambda _: PruneModel(wieghts="a.pt"), ("Did you mean 'weights'?",)),
    "modle": (lambda _: PruneModel(modle="a.pt"), ("Did you mean 'model'?",)),
    "fodler": (lambda _: PruneModel("a.pt", fodler="x"), ("Did you mean 'folder'?",)),
    "two models": (lambda _: PruneModel("a.pt", weights="b.pt"), ("model='a.pt'", "weights='b.pt'")),
    "imgszz": (lambda _: PruneModel("a.pt", imgszz=64), ("Did you mean 'imgsz'?",)),
    "a model as data": (lambda _: PruneModel("a.pt", data="b.pt"), ("data='b.pt'",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(model: PruneModel, ran: Ran, name: str) -> None:
    call, parts = WRONG[name]
    with pytest.raises(ConfigError) as error:
        call(model)
    assert [part for part in parts if part not in str(error.value)] == [], str(error.value)
    assert "weight_decay" not in str(error.value)
    assert ran == []
    assert not model.folder.exists()


def test_epochs_of_the_chain_are_those_of_its_stages(make_weights: Any, tmp_path: Path, ran: Ran) -> None:
    model = PruneModel(make_weights("tiny8"), folder=tmp_path / "run", data_path="d.yaml", epochs=3, **TRAIN)
    model.train()
    model.sparse_train(epochs=5)
    assert [(job.settings["epochs"], job.settings["data"]) for job in ran] == [(3, "d.yaml"), (5, "d.yaml")]


@pytest.mark.parametrize("call", [lambda m, data: m.train(data), lambda m, data: m.prune(0.2, data=data)])
def test_a_call_that_fails_changes_nothing(model: PruneModel, ran: Ran, call: Any) -> None:
    before = model.weights
    with pytest.raises(InputError, match=r"none\.yaml"):
        call(model, "none.yaml")
    assert (model.weights, model.data, model.unpruned) == (before, "d.yaml", None)
    assert call(model, None).stage in {"retrain", "prune"}  # the first of its kind
    assert ran[-1].settings["data"] == "d.yaml"


@pytest.mark.parametrize("path", ["a.pt", "A.PT", "w/a.pth", Path("a.pt")])
def test_weights_without_a_name_are_the_target(path: Any) -> None:
    assert data_and_target("train()", path, "d.yaml", None) == ("d.yaml", path)
    assert factor_and_target(path, 0.2, None) == (0.2, path)


@pytest.mark.parametrize("path", ["d.yaml", "folder", Path("d.yml"), "a.pt/d.yaml"])
def test_anything_else_is_data(path: Any) -> None:
    assert data_and_target("train()", path, None, "w.pt") == (str(path), "w.pt")
