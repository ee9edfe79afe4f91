"""The stages of a chain: each takes a :class:`Job` and returns a :class:`~kd_yolo.pipeline.step.Step`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DEFAULT_LOSS, EMA_TEACHER, resolve_distill
from kd_yolo.config.options import TERM_FLAGS
from kd_yolo.config.prune import PruneSettings
from kd_yolo.data.check import check_for_training
from kd_yolo.distill import job as distillation
from kd_yolo.pipeline.step import Step
from kd_yolo.prune.job import Pruning
from kd_yolo.prune.sparse.trainer import SPARSE_FILE, SPARSE_TRAINERS, SparseSettings
from kd_yolo.training.fit import check_data_arguments
from kd_yolo.training.run import Progress, progress_of
from kd_yolo.training.stage import prepare_folder, task_of, train_stage
from kd_yolo.training.trainers import RETRAINERS
from kd_yolo.yolo.arguments.check import check_arguments as arguments_checked
from kd_yolo.yolo.arguments.check import find_problems
from kd_yolo.yolo.arguments.table import Command
from kd_yolo.yolo.description.model_yaml import check_model_yaml, is_model_yaml
from kd_yolo.yolo.evaluate import validate
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.measure import measure_size

__all__ = [
    "Job",
    "check_arguments",
    "check_weights",
    "distill",
    "measured",
    "prune",
    "qat",
    "retrain",
    "sparse_train",
]

log = logging.getLogger("kd_yolo")
DISTILLATION = ("teacher", "loss", *TERM_FLAGS)
OURS = {
    "retrain": (),
    "base": (),
    "sparse": ("sparsity",),
    "distill": DISTILLATION,
    "qat": DISTILLATION,
    "prune": ("retrain_epochs", "train"),
}
PRUNE_NAMES = ("save_dir", "retrain_epochs", *(set(PruneSettings.model_fields) - {"model", "trust_weights"}))

INT8 = {"quantize": 8}
# Training for INT8 changes weights as little as rounding asks for; what the call itself says counts more.
QAT = {"optimizer": "AdamW", "lr0": 1e-4, "warmup_epochs": 0}

_PLACED = "every stage has its place in the chain's folder"
NOT_OF_A_STAGE = {
    **dict.fromkeys(("project", "name", "exist_ok"), _PLACED),
    "quantize": "the stage qat trains for INT8, after pruning",
}


@dataclass(frozen=True)
class Job:
    """What a stage works with.

    Attributes:
        stage: its name; a digit at the end counts repetitions.
        weights: the network that it starts from.
        folder: its own folder.
        settings: ultralytics arguments and those of the stage.
        trust: ``--trust-weights``.
    """

    stage: str
    weights: str
    folder: Path
    settings: dict[str, Any]
    trust: bool

    def check(self) -> None:
        """Checks the settings before anything is written.

        Raises:
            ConfigError: unknown names, values that do not fit.
        """
        kind = self.stage.rstrip("0123456789")
        if kind == "prune":
            prune_settings(self)
            check_arguments(self.settings.get("train") or {})
            return
        ours = {key: value for key, value in self.settings.items() if key in OURS[kind]}
        theirs = {key: value for key, value in self.settings.items() if key not in ours}
        is_distillation = OURS[kind] == DISTILLATION
        check_arguments(theirs, "distill" if is_distillation else "train", own=OURS[kind])
        if kind == "qat":
            arguments_checked(INT8, "distill")
        check_data_arguments(theirs)
        if is_distillation:
            flags = {key: value for key, value in ours.items() if key in TERM_FLAGS}
            resolve_distill("?", DEFAULT_LOSS if ours.get("loss") is None else ours["loss"], **flags)
        elif "sparsity" in ours:
            SparseSettings.parse({"sparsity": ours["sparsity"]}, "sparse")

    def check_inputs(self) -> None:
        """Checks the data and the teacher, before the stage is noted.

        Raises:
            InputError: they are missing or unusable.
        """
        data, teacher = self.settings.get("data"), self.settings.get("teacher")
        task = task_of(self.weights, trust=self.trust, is_start=True)
        if data is not None and task != "classify":  # its trainer checks that
            check_for_training(data, task)
        if teacher is not None and teacher != EMA_TEACHER:
            load_checkpoint(teacher, trust=self.trust)


def check_arguments(
    arguments: Mapping[str, Any], command: Command = "train", *, own: Sequence[str] = ()
) -> dict[str, Any]:
    """:func:`kd_yolo.yolo.arguments.check.check_arguments` for a stage of a chain, which has a folder already.

    Raises:
        ConfigError: every problem found.
    """
    problems = [f"'{key}=': {why}. Leave it out." for key, why in NOT_OF_A_STAGE.items() if key in arguments]
    if problems:
        problems += find_problems({k: v for k, v in arguments.items() if k not in NOT_OF_A_STAGE}, command, own=own)
        raise ConfigError("\n".join(problems))
    return arguments_checked(arguments, command, own=own)


def check_weights(weights: str, *, trust: bool) -> str:
    """Refuses weights or a model YAML that cannot be used, before anything is written.

    Raises:
        InputError: missing, damaged, unsafe, or no YOLO model.
    """
    if is_model_yaml(weights):
        check_model_yaml(weights)
        return weights
    model, _ = load_checkpoint(weights, trust=trust)
    return str(Path(str(model.pt_path)).resolve())


def retrain(job: Job) -> Step:
    """Trains the network with the widths that it has."""
    return measured(job, train_stage(RETRAINERS, job.weights, job.folder, job.settings, trust=job.trust))


def sparse_train(job: Job) -> Step:
    """Trains with zeroing of BatchNorm gammas; hands on the sparse weights, not the best (the least sparse) ones."""
    best = train_stage(SPARSE_TRAINERS, job.weights, job.folder, job.settings, trust=job.trust)
    return measured(job, best.with_name(SPARSE_FILE))


def qat(job: Job) -> Step:
    """Trains the network under a teacher, for INT8."""
    return distill(job, INT8)


def distill(job: Job, further: Mapping[str, Any] | None = None) -> Step:
    """Trains the network under a teacher; ``further`` are ultralytics arguments of the stage itself."""
    last = job.folder / "weights" / "last.pt"
    progress = progress_of(last, trust=job.trust)
    if progress is Progress.NOTHING:
        prepare_folder(job.folder)
        settings = dict(job.settings)
        own = {key: settings.pop(key) for key in DISTILLATION if key in settings}
        flags = {key: own[key] for key in TERM_FLAGS if key in own}
        place = {"project": str(job.folder.parent), "name": job.folder.name, "exist_ok": True}
        request = distillation.Request(
            own.get("teacher"), job.weights, own.get("loss"), flags, job.trust, {**settings, **(further or {}), **place}
        )  # fmt: skip
        distillation.distil(distillation.make_plan(request))
    elif progress is not Progress.FINISHED:
        distillation.resume(str(last), {"data": job.settings["data"]}, trust_weights=job.trust)
    return measured(job, last.with_name("best.pt"))


def prune_settings(job: Job) -> PruneSettings:
    """The stage's settings.

    Raises:
        ConfigError: unknown names, values that do not fit.
    """
    given = {key: value for key, value in job.settings.items() if value is not None and key not in OURS["prune"]}
    return PruneSettings.parse({**given, "model": job.weights, "trust_weights": job.trust}, "prune")


def prune(job: Job) -> Step:
    """Removes channels; an iterative pruning trains between its steps when ``retrain_epochs`` says so."""
    epochs, train = (job.settings.get(key) for key in OURS["prune"])

    def retrain_step(path: Path, step: int) -> Path:
        settings = {**(train or {}), "data": job.settings["data"], "epochs": epochs}
        return train_stage(RETRAINERS, str(path), job.folder / f"retrain{step}", settings, trust=job.trust)

    pruning = Pruning(prune_settings(job), log.warning)
    result = pruning.run(job.folder, retrain_step if epochs else None)
    assert result.path is not None, "not a dry run"
    return measured(job, result.path, tuple(result.lines()))


def measured(job: Job, path: Path, notes: tuple[str, ...] = ()) -> Step:
    """The step with its size, and its accuracy where there is data."""
    model, _ = load_checkpoint(path, trust=job.trust)
    imgsz = int(job.settings.get("imgsz") or 640)
    size = measure_size(model, imgsz)
    metrics = {"parameters": float(size.parameters), "gflops": size.gflops}
    if job.settings.get("data"):
        found = validate(model, str(job.settings["data"]), imgsz=imgsz, device=job.settings.get("device"))
        metrics = {"map50_95": found["metrics/mAP50-95(B)"], "map50": found["metrics/mAP50(B)"], **metrics}
    return Step(job.stage, path, metrics, notes)
