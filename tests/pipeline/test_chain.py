"""The whole chain on a few images: what it makes, what it skips, and that an interrupted one ends the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from kd_yolo.base.errors import ConfigError, GateError
from kd_yolo.config.pipeline import PipelineConfig
from kd_yolo.pipeline import chain, stages
from kd_yolo.pipeline.chain import ChainResult, read_recipe, run_chain
from kd_yolo.training.checkpoint import CheckpointMixin
from kd_yolo.yolo.files.loading import load_checkpoint

STAGES = ("sparse", "prune", "retrain", "distill")
RECIPE: dict[str, Any] = {
    "train": {"imgsz": 64, "batch": 4, "optimizer": "AdamW", "lr0": 0.001, "device": "cpu", "workers": 0,
              "plots": False, "verbose": False, "close_mosaic": 0},
    "sparse": {"epochs": 2, "sparsity": 0.2},
    "prune": {"factor": 0.3, "importance": "bn"},
    "retrain": {"epochs": 2},
    "distill": {"epochs": 2, "loss": "cwd+bkd"},
    "compare": {"rounds": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tiny_data: Path, tiny_yaml: Callable[..., str]) -> PipelineConfig:
    """The recipe for a small network on the tiny data."""
    return PipelineConfig.parse({**RECIPE, "model": tiny_yaml(16), "data": str(tiny_data)}, "test")


@pytest.fixture(scope="module")
def done(recipe: PipelineConfig, tmp_path_factory: pytest.TempPathFactory) -> ChainResult:
    """A chain that nobody disturbed."""
    return run_chain(recipe, tmp_path_factory.mktemp("chain") / "run")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table and images, which every call makes anew, are not what is tested."""
    monkeypatch.setattr(chain, "_compare", lambda *_: None)
    monkeypatch.setattr(chain, "_draw", lambda *_: None)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def assert_equal(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_every_stage_hands_on_a_plain_model_that_is_smaller_from_pruning_on(done: ChainResult) -> None:
    assert [step.stage for step in done.steps] == list(STAGES)
    sizes = [sum(p.numel() for p in YOLO(str(step.path)).model.parameters()) for step in done.steps]
    assert sizes[1] < 0.7 * sizes[0]
    assert sizes[1:] == [sizes[1]] * 3
    assert [step.metrics["parameters"] for step in done.steps] == sizes
    assert all(0 <= step.metrics["map50_95"] <= 1 for step in done.steps)


def test_the_sparse_weights_are_handed_on_not_the_best(done: ChainResult) -> None:
    assert done.steps[0].path.name == "sparse.pt"
    state = json.loads((done.folder / "state.json").read_text())
    assert state["stages"]["prune"]["result"]["path"].endswith("pruned.pt")


def test_tables_and_images_are_there(done: ChainResult) -> None:
    names = [f"compare.{kind}" for kind in ("csv", "md", "json", "png")]
    names += ["channels.png", "gammas.png", "timeline.png"]
    assert [name for name in names if not (done.folder / name).stat().st_size] == []
    rows = json.loads((done.folder / "compare.json").read_text())["rows"]
    assert [row["parameters"] for row in rows] == [step.metrics["parameters"] for step in done.steps]


def test_the_teacher_is_the_network_before_pruning(done: ChainResult) -> None:
    settings = json.loads((done.folder / "state.json").read_text())["stages"]["distill"]["settings"]
    assert settings["teacher"] == str(done.steps[0].path.relative_to(done.folder))  # a chain may be moved


@pytest.mark.usefixtures("undrawn")
def test_the_same_recipe_again_trains_nothing(
    done: ChainResult, recipe: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished stage was run")

    for name in ("train_stage", "Pruning", "distillation"):
        monkeypatch.setattr(stages, name, never)
    assert run_chain(recipe, done.folder).steps == done.steps


def test_changed_settings_are_refused(done: ChainResult, recipe: PipelineConfig) -> None:
    changed = recipe.model_copy(update={"prune": {**recipe.prune, "factor": 0.4}})
    before = (done.folder / "state.json").read_text()
    with pytest.raises(ConfigError, match=r"'prune'(.|\n)*factor: 0\.3 -> 0\.4"):
        run_chain(changed, done.folder)
    assert (done.folder / "state.json").read_text() == before


@pytest.mark.usefixtures("undrawn")
def test_a_gate(done: ChainResult, recipe: PipelineConfig) -> None:
    before, after = (step.metrics["map50_95"] for step in (done.steps[0], done.steps[-1]))
    run_chain(recipe.model_copy(update={"gate": {"max-map-drop": before - after + 0.001}}), done.folder)
    with pytest.raises(GateError, match="max-map-drop"):
        run_chain(recipe.model_copy(update={"gate": {"max-map-drop": before - after - 0.001}}), done.folder)


def in_mid_run(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the process, as far as a test can, after the first checkpoint of a training stage."""
    real = CheckpointMixin.save_model

    def save_and_stop(self: Any) -> bool:
        saved = real(self)
        if Path(self.save_dir).name == stage:
            raise KeyboardInterrupt
        return saved

    monkeypatch.setattr(CheckpointMixin, "save_model", save_and_stop)


def while_pruning(_stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kd_yolo.prune.network.save_pruned", stop)


def before_the_end(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last epoch, before the checkpoints are finished."""
    real = CheckpointMixin.final_eval

    def stop(self: Any) -> None:
        if Path(self.save_dir).name == stage:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(CheckpointMixin, "final_eval", stop)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("stage", "cut_off"),
    [("sparse", before_the_end), ("prune", while_pruning), ("retrain", in_mid_run), ("distill", in_mid_run)],
)
def test_an_interrupted_chain_ends_as_an_undisturbed_one(
    done: ChainResult, recipe: PipelineConfig, tmp_path: Path, stage: str,
    cut_off: Callable[[str, pytest.MonkeyPatch], None],
) -> None:  # fmt: skip
    folder = tmp_path / "run"
    shutil.copytree(done.folder, folder)
    forget_from(folder, stage, done.folder)
    with pytest.MonkeyPatch.context() as patch:
        cut_off(stage, patch)
        with pytest.raises(KeyboardInterrupt):
            run_chain(recipe, folder)
    result = run_chain(recipe, folder)
    for step, whole in zip(result.steps, done.steps, strict=True):
        assert_equal(step.path, whole.path)
        assert step.metrics == whole.metrics


def forget_from(folder: Path, stage: str, old: Path) -> None:
    """Takes a copied chain back to before a stage; paths in it follow the copy."""
    text = (folder / "state.json").read_text().replace(str(old), str(folder))
    state = json.loads(text)
    for name in STAGES[STAGES.index(stage) :]:
        state["stages"].pop(name)
        shutil.rmtree(folder / name)
    (folder / "state.json").write_text(json.dumps(state))


def test_a_recipe_file(tmp_path: Path, tiny_data: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: yolov8n.yaml\ntrain: {imgsz: 64}\ngate: {max-map-drop: 0.1}\n")
    config = read_recipe(file, train={"imgsz": 96, "data": str(tiny_data)}, gate={"max-map-drop": 0.02})
    assert config.train == {"imgsz": 96}
    assert config.data == str(tiny_data)
    assert config.gate == {"max-map-drop": 0.02}
    with pytest.raises(ConfigError, match="Did you mean 'max-map-drop'"):
        read_recipe(file, train={}, gate={"max-map-dropp": 1.0})
    file.write_text("model: yolov8n.yaml\nretrian: {epochs: 2}\n")
    with pytest.raises(ConfigError, match="Did you mean 'retrain'"):
        read_recipe(file, train={}, gate={})
