"""PruneModel: the customer's calls, and what it says to wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kd_yolo import PruneModel
from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.pipeline import stages
from kd_yolo.pipeline.step import Step
from kd_yolo.yolo.files.loading import load_checkpoint

TRAIN: dict[str, Any] = {"imgsz": 64, "batch": 4, "device": "cpu", "workers": 0, "plots": False, "verbose": False}


def widths(path: str | Path) -> int:
    return sum(p.numel() for p in load_checkpoint(path)[0].parameters())


@pytest.fixture
def model(make_weights: Any, tmp_path: Path) -> PruneModel:
    return PruneModel(make_weights("tiny32"), folder=tmp_path / "run", **TRAIN)


def test_pruning_without_data_removes_the_default_share_and_copies_the_file(model: PruneModel, tmp_path: Path) -> None:
    before = widths(model.weights)
    step = model.prune(save_dir=tmp_path / "weights" / "prune.pt")
    assert 0.55 < widths(step.path) / before < 0.72  # a factor of 0.2 removes about 36 % of the parameters
    assert widths(tmp_path / "weights" / "prune.pt") == widths(step.path) == step.metrics["parameters"]
    assert any("factor 0.2" in note for note in step.notes)
    assert "map50_95" not in step.metrics
    assert model.weights == str(step.path)


def test_pruning_twice_is_two_stages(model: PruneModel) -> None:
    first, second = model.prune(0.2), model.prune(0.2)
    assert [step.stage for step in model.state.finished] == ["prune", "prune2"]
    assert widths(second.path) < widths(first.path)


def test_another_process_goes_on_in_the_same_folder(model: PruneModel, make_weights: Any) -> None:
    first = model.prune(0.3)
    changed = first.path.stat().st_mtime_ns
    again = PruneModel(make_weights("tiny32"), folder=model.folder, **TRAIN)
    assert again.prune(0.3) == first
    assert first.path.stat().st_mtime_ns == changed
    with pytest.raises(ConfigError, match=r"factor: 0\.3 -> 0\.5"):
        PruneModel(make_weights("tiny32"), folder=model.folder, **TRAIN).prune(0.5)


def test_other_weights_are_another_chain(model: PruneModel, make_weights: Any) -> None:
    model.prune(0.3)
    with pytest.raises(ConfigError, match="weights: "):
        PruneModel(make_weights("tiny32", seed=1), folder=model.folder, **TRAIN).prune(0.3)


def test_a_call_that_fails_does_not_bind_the_next_one(
    model: PruneModel, tiny_data: Path, make_weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of the same object nor of another process; nothing is written before the inputs are checked."""
    monkeypatch.setattr(stages, "sparse_train", lambda job: Step(job.stage, Path(job.weights)))
    for data in ("nowhere.yaml", tiny_data.parent / "images"):
        with pytest.raises(KDYoloError):
            model.sparse_train(data, epochs=1)
    with pytest.raises(InputError):
        model.distill("nowhere.pt", "cwd", tiny_data, epochs=1)
    assert not model.folder.exists()
    other = PruneModel(make_weights("tiny32"), folder=model.folder, **TRAIN)
    assert model.sparse_train(tiny_data, epochs=1).stage == "sparse"
    assert other.sparse_train(tiny_data, epochs=1).stage == "sparse"  # found finished
    assert [step.stage for step in PruneModel(model.weights, folder=model.folder).state.finished] == ["sparse"]


def test_a_stage_that_failed_before_it_made_anything_may_change(
    model: PruneModel, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: stages.Job) -> Step:
        job.folder.mkdir()
        (job.folder / "args.yaml").touch()
        raise KDYoloError("no room")

    monkeypatch.setattr(stages, "retrain", fail)
    with pytest.raises(KDYoloError, match="no room"):
        model.train(tiny_data, epochs=2)
    monkeypatch.setattr(stages, "retrain", lambda job: Step(job.stage, Path(job.weights)))
    assert model.train(tiny_data, epochs=1).stage == "retrain"


def test_a_reserved_folder_that_was_not_used_goes(make_weights: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (PruneModel(make_weights("tiny32"), **TRAIN) for _ in range(2))
    assert first.folder != second.folder
    assert first.folder.is_dir()
    folder = first.folder
    del first
    assert not folder.exists()


def test_iterative_pruning_trains_between_its_steps(model: PruneModel, tiny_data: Path) -> None:
    step = model.prune(0.4, data=tiny_data, iterative=2, retrain_epochs=1, importance="l2")
    assert (model.folder / "prune" / "retrain1" / "results.csv").is_file()
    assert not (model.folder / "prune" / "retrain2").exists()
    assert "map50_95" in step.metrics


def test_a_default_folder_is_new_each_time(make_weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = PruneModel(make_weights("tiny32"), **TRAIN)
    first.prune(0.2)
    second = PruneModel(make_weights("tiny32"), **TRAIN)
    assert second.folder.parent == first.folder.parent == tmp_path / "runs" / "prune"
    assert second.folder != first.folder


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.prune(1.5), "factor is 1.5, expected a share between 0 and 1"),
        (lambda m: m.prune(0.2, importanze="l2"), "Did you mean 'importance'"),
        (lambda m: m.prune(0.2, save_dir="weights"), "expected the name of a file such as weights/prune.pt"),
        (lambda m: m.train("data.yaml", epohcs=3), "Did you mean 'epochs'"),
        (lambda m: m.train("data.yaml", loss_type="mgd"), "loss_type is 'mgd', train() knows None and 'sparse'"),
        (lambda m: m.distill(data="data.yaml"), "needs a teacher"),
        (lambda m: m.export("paper"), "paper"),
    ],
)
def test_wrong_calls(model: PruneModel, call: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        call(model)
    assert message in str(error.value)
    assert not model.folder.exists()


def test_wrong_constructions(make_weights: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'imgsz'"):
        PruneModel(make_weights("tiny32"), folder=tmp_path, imgszz=64)
    with pytest.raises(InputError, match="do not exist"):
        PruneModel("nothing.pt", folder=tmp_path)


def test_missing_data_leaves_no_folder(model: PruneModel) -> None:
    with pytest.raises((InputError, ConfigError), match=r"none\.yaml"):
        model.prune(0.2, data="none.yaml")
    assert not (model.folder / "prune").exists()


@pytest.mark.slow
def test_a_pruned_network_is_trained_for_int8_under_itself_and_exported(model: PruneModel, tiny_data: Path) -> None:
    pytest.importorskip("modelopt", reason="needs the extra qat")
    onnx = pytest.importorskip("onnx")
    pruned = model.prune(0.3)
    step = model.qat(data=tiny_data, epochs=1, loss_type="bkd")
    run = yaml.safe_load((step.path.parents[1] / "args.yaml").read_text())
    assert (run["quantize"], run["lr0"], run["optimizer"]) == (8, 1e-4, "AdamW")
    assert run["kd"]["config"]["teacher"] == str(pruned.path)
    assert step.metrics["parameters"] == pruned.metrics["parameters"]
    graph = onnx.load(model.export("onnx")).graph
    weights = {w.name for w in graph.initializer}
    rounded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"} & weights
    assert len(rounded) > 10  # the weights of the convolutions
    with pytest.raises(ConfigError, match="the stage qat trains for INT8"):
        model.train(tiny_data, quantize=8)
    with pytest.raises(InputError, match="was trained for INT8"):
        model.train(tiny_data, epochs=1)
    with pytest.raises(InputError, match="was trained for INT8"):
        model.prune(0.1)
