"""Trains one run, from where an earlier process left off."""

from __future__ import annotations

import contextlib
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from kd_yolo.base.lock import is_held
from kd_yolo.data.resolve import resolved_yaml
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.distill import job as distillation
from kd_yolo.distill.classes import student_for
from kd_yolo.league.job import Job
from kd_yolo.training.run import Progress, progress_of
from kd_yolo.training.stage import prepare_folder, train_stage
from kd_yolo.training.trainers import RETRAINERS
from kd_yolo.training.usage import noting_usage
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned
from kd_yolo.yolo.files.safe_mode import trusted

UPSTREAM = dict.fromkeys(RETRAINERS)  # no trainer of ours: ultralytics takes its own


def train(job: Job) -> Path:
    """Trains, and returns the weights to evaluate.

    Raises:
        KDYoloError: options, weights or data that cannot be used.
    """
    if job.kind == "random":
        _random(job)
    elif job.kind != "score":
        with noting_usage():
            {"plain": _plain, "shipped": _shipped, "distill": _distill}[job.kind](job)
    return job.best


def _random(job: Job) -> None:
    """A teacher that has learnt nothing: the teacher's network with the weights that it began with once."""
    network: Any = load_checkpoint(job.weights, trust=job.trust)[0]
    spec = read_data_yaml(job.data)
    torch.manual_seed(job.seed)
    is_single = bool(job.arguments.get("single_cls"))
    num_classes = 1 if is_single else len(spec.names)
    untrained = type(network)(deepcopy(network.yaml), ch=spec.channels, nc=num_classes, verbose=False)
    untrained = student_for(untrained, spec, single=is_single)
    save_pruned(job.best, untrained, {"train_args": {"data": job.data}}, {})  # as any finished checkpoint


def _plain(job: Job) -> None:
    """Without a teacher; resumable, and otherwise the same as ultralytics' own training."""
    train_stage(RETRAINERS, job.weights, job.folder, {**job.arguments, "data": job.data}, trust=job.trust)


def _shipped(job: Job) -> None:
    """Ultralytics' own distillation, which is not resumed: a run that was cut off starts again."""
    assert job.teacher is not None
    is_finished = progress_of(job.last, trust=True) is Progress.FINISHED  # written here; holds upstream's own classes
    if not is_finished and not is_held(job.folder):
        shutil.rmtree(job.folder, ignore_errors=True)
    data = resolved_yaml(job.data, job.folder.parent / "data")
    arguments = {**job.arguments, "data": str(data), "distill_model": job.teacher}
    with trusted(job.weights, job.teacher, job.folder) if job.trust else contextlib.nullcontext():
        train_stage(UPSTREAM, job.weights, job.folder, arguments, trust=job.trust)


def _distill(job: Job) -> None:
    progress = progress_of(job.last, trust=job.trust)
    if progress is Progress.NOTHING:
        prepare_folder(job.folder)
        place = {"project": str(job.folder.parent), "name": job.folder.name, "exist_ok": True}
        arguments = {**job.arguments, "data": job.data, **place}
        recipe = job.recipe
        flags = {**recipe.flags, "teacher_val": False}  # it has a row of its own
        request = distillation.Request(job.teacher, job.weights, recipe.loss, flags, job.trust, arguments)
        distillation.distil(distillation.make_plan(request))
    elif progress is not Progress.FINISHED:
        distillation.resume(str(job.last), {"data": job.data}, trust_weights=job.trust)
