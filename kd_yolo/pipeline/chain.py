"""A whole chain from a recipe: every stage, the table, the images, the gate."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_yolo.base.errors import ConfigError, GateError
from kd_yolo.base.registry import nearest
from kd_yolo.config.base import read_yaml
from kd_yolo.config.pipeline import PipelineConfig
from kd_yolo.pipeline.model import PruneModel
from kd_yolo.pipeline.stages import QAT, Job, check_arguments, measured
from kd_yolo.pipeline.step import Step
from kd_yolo.prune.plots import draw_channels, draw_gammas, draw_timeline
from kd_yolo.report.compare import Comparison, compare
from kd_yolo.report.int8 import Int8Table, compare_int8

log = logging.getLogger("kd_yolo")
GATES = ("max-map-drop",)


@dataclass(frozen=True)
class ChainResult:
    """A finished chain.

    Attributes:
        folder: where everything is.
        steps: its stages, in order.
        table: the comparison of the unpruned network and every stage since.
        int8: the network in float and in INT8, where the stage qat ran.
    """

    folder: Path
    steps: tuple[Step, ...]
    table: Comparison | None
    int8: Int8Table | None = None


def read_recipe(path: Path, *, train: dict[str, Any], gate: dict[str, float]) -> PipelineConfig:
    """Reads a recipe and lays what the command line said over it.

    Raises:
        ConfigError: unknown keys, values of the wrong kind, an unknown gate.
    """
    values = read_yaml(path)
    values["train"] = {**(values.get("train") or {}), **train}
    values["data"] = values["train"].pop("data", None) or values.get("data")
    values["gate"] = {**(values.get("gate") or {}), **gate}
    for name in values["gate"]:
        if name not in GATES:
            raise ConfigError(f"unknown gate '{name}'.{nearest(name, GATES)} Known: {', '.join(GATES)}.")
    return PipelineConfig.parse(values, str(path))


def run_chain(config: PipelineConfig, folder: Path, *, trust: bool = False) -> ChainResult:
    """Runs all stages of a recipe, those that are finished excepted.

    Args:
        config: the recipe.
        folder: where the chain lives; a folder with ``state.json`` goes on.
        trust: ``--trust-weights``.

    Raises:
        GateError: the last network lost more accuracy than the gate allows; everything is written.
        ConfigError: a stage of the folder was started with other settings.
        InputError: weights or data that cannot be used.
    """
    check_stages(config)
    model = PruneModel(config.model, folder=folder, trust_weights=trust, **config.train)
    with model.state.locked():
        steps = _run_stages(model, config)
        shown = steps if steps[0].stage != "prune" else [_unpruned(model), *steps]
        table = _compare(model, config, shown)
        int8 = _compare_int8(model, config, steps)
        _draw(model.folder, shown)
    _check_gate(config, shown, model.folder)
    return ChainResult(model.folder, tuple(steps), table, int8)


def check_stages(config: PipelineConfig) -> None:
    """Checks the settings of all stages before the first one runs.

    Raises:
        ConfigError: every problem found, with its stage.
        InputError: the data YAML is missing or unusable.
    """
    problems = _problems("train", lambda: check_arguments(config.train))
    stages: dict[str, dict[str, Any]] = {"prune": config.prune}
    for name in ("base", "sparse", "retrain", "distill", "qat"):
        stage = getattr(config, name)
        if stage is not None:
            said = stage.model_dump(exclude={"train"}, exclude_unset=True, exclude_none=True)
            own = {"epochs": stage.epochs, **said}
            stages[name] = {**config.train, **(QAT if name == "qat" else {}), **stage.train, **own, "data": config.data}
            repeated = [key for key in own if key in stage.train]
            problems += [f"{name}: {key} stands in the stage and in its 'train'." for key in repeated]
    if not problems:
        for name, settings in stages.items():
            given = {key: value for key, value in settings.items() if value is not None}
            problems += _problems(name, Job(name, config.model, Path(), given, trust=False).check)
    if problems:
        raise ConfigError("\n".join(problems))


def _problems(stage: str, check: Callable[[], Any]) -> list[str]:
    try:
        check()
    except ConfigError as error:
        return [f"{stage}: {line}" for line in str(error).splitlines()]
    return []


def _run_stages(model: PruneModel, config: PipelineConfig) -> list[Step]:
    steps: list[Step] = []
    data = config.data
    if config.base is not None:
        steps.append(model.base_train(data, config.base.epochs, **config.base.train))
    if config.sparse is not None:
        sparse = config.sparse
        steps.append(model.sparse_train(data, sparse.epochs, sparse.sparsity, **sparse.train))
    steps.append(model.prune(data=data, **config.prune))
    if config.retrain is not None:
        steps.append(model.train(data, config.retrain.epochs, **config.retrain.train))
    for stage, run in ((config.distill, model.distill), (config.qat, model.qat)):
        if stage is not None:
            own = {**stage.term_flags(), **stage.train}
            steps.append(run(stage.teacher, stage.loss, data, stage.epochs, **own))
    return steps


def _unpruned(model: PruneModel) -> Step:
    """The network before pruning as a step: what a chain that trains nothing before pruning is compared with."""
    assert model.unpruned is not None, "prune() was called"
    settings = {**model.arguments, "data": model.data}
    return measured(Job("unpruned", model.unpruned, model.folder, settings, model.trust_weights), Path(model.unpruned))


def _compare(model: PruneModel, config: PipelineConfig, shown: list[Step]) -> Comparison | None:
    """The table; measured again each time, it costs a validation a stage."""
    if config.compare is None:
        return None
    settings: dict[str, Any] = {
        "imgsz": model.imgsz,
        "runtime": config.compare.runtime,
        "rounds": config.compare.rounds,
    }
    settings["trust_weights"] = model.trust_weights
    table = compare([step.path for step in shown], data=model.data, **settings)
    table.write(model.folder)
    return table


def _compare_int8(model: PruneModel, config: PipelineConfig, steps: list[Step]) -> Int8Table | None:
    """The network before and after the stage qat, exported; measured again each time."""
    if config.qat is None or config.compare is None:
        return None
    before, aware = steps[-2].path, steps[-1].path
    assert model.data is not None, "a stage was trained"
    table = compare_int8(
        before, aware, model.folder / "export", data=model.data, imgsz=model.imgsz, rounds=config.compare.rounds,
        trust=model.trust_weights,
    )  # fmt: skip
    table.write(model.folder)
    return table


def _draw(folder: Path, shown: list[Step]) -> None:
    """``channels.png``, ``gammas.png`` (after sparse training) and ``timeline.png``."""
    report = json.loads((folder / "prune" / "report.json").read_text(encoding="utf-8"))
    draw_channels(report["before"]["channels"], report["after"]["channels"], folder / "channels.png")
    gammas = folder / "sparse" / "gammas.npz"
    if gammas.is_file():
        with np.load(gammas) as arrays:
            draw_gammas({name: arrays[name] for name in arrays.files}, folder / "gammas.png")
    draw_timeline([(step.stage, step.metrics["map50_95"]) for step in shown], folder / "timeline.png")


def _check_gate(config: PipelineConfig, shown: list[Step], folder: Path) -> None:
    limit = config.gate.get("max-map-drop")
    before, after = (step.metrics["map50_95"] for step in (shown[0], shown[-1]))
    if limit is not None and before - after > limit:
        raise GateError(
            f"max-map-drop: mAP50-95 fell from {before:.4f} ({shown[0].stage}) to {after:.4f} ({shown[-1].stage}), by "
            f"{before - after:.4f}, allowed {limit:g}: prune less (factor), or train longer. Everything is in {folder}."
        )
