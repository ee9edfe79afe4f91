"""One distillation run from start to end: fill in what was not said, check, train, say where the results are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn
from ultralytics import YOLO

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.places import find_weights
from kd_yolo.builtin.demo import demo_data
from kd_yolo.config.distill import DEFAULT_LOSS, EMA_TEACHER, DistillConfig, resolve_distill
from kd_yolo.data.check import check_for_training
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.distill.alone import ASKED
from kd_yolo.distill.auto import choose
from kd_yolo.distill.classes import student_for
from kd_yolo.distill.defaults import default_student
from kd_yolo.distill.demo import demo_teacher
from kd_yolo.distill.kept import KeptClasses
from kd_yolo.distill.preview import check_distillation
from kd_yolo.distill.teachers.file import locate_teacher, open_teacher
from kd_yolo.distill.trainer import trainer_for
from kd_yolo.training.end import STATE
from kd_yolo.training.provenance import say_left_out
from kd_yolo.training.resume import check_changes, run_folder, saved_arguments
from kd_yolo.training.run import Progress, progress_of, run_training
from kd_yolo.training.stage import network_task, open_network, require_unfinished, task_of
from kd_yolo.yolo.arguments.check import check_arguments, is_int8
from kd_yolo.yolo.arguments.fit import check_fits_data
from kd_yolo.yolo.description.model_yaml import check_model_yaml, is_model_yaml
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict
from kd_yolo.yolo.files.quantized_state import refuse_quantized
from kd_yolo.yolo.files.safe_mode import enforce_safe_loading, trusted
from kd_yolo.yolo.heads import detector_head


@dataclass(frozen=True)
class Request:
    """What a user asked for; None is "not said"."""

    teacher: str | Sequence[str] | None = None
    student: str | None = None
    loss: str | list[Any] | None = None
    flags: dict[str, Any] = field(default_factory=dict)  # kd_yolo.config.distill.TERM_FLAGS
    trust_weights: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)  # ultralytics arguments


@dataclass(frozen=True)
class Plan:
    """A request with everything filled in and checked; nothing is written yet.

    ``lines`` say what a run would do: taps, shapes, adapters, classes, cost.
    """

    config: DistillConfig
    student: str
    data: str
    data_sha256: str
    overrides: dict[str, Any]
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    baseline: bool = False


@dataclass(frozen=True)
class Result:
    """Where a finished run is; ``teacher`` is the first one that is a file, ``baseline`` see :mod:`.alone`."""

    save_dir: Path
    best: Path
    metrics: dict[str, float]
    teacher: str | None
    task: str
    imgsz: int
    baseline: str | None = None
    is_int8: bool = False


def make_plan(request: Request, *, write: bool = True) -> Plan:
    """Fills in teacher, student and data, and checks all of them: a dry run and a run refuse the same.

    Args:
        request: what the user asked for.
        write: may built-in data be generated and a demo teacher be trained; a dry run may not.

    Raises:
        ConfigError: options that are unknown or do not fit together.
        InputError: weights or data that are missing or unusable.
    """
    notes: list[str] = []
    enforce_safe_loading()
    overrides = check_arguments(request.overrides, "distill")
    asked: dict[str, Any] = {**request.flags, **({"loss": request.loss} if request.loss is not None else {})}
    resolve_distill("?", **asked)  # a misspelt loss must not wait for the demo teacher
    data = overrides.pop("data", None)
    if data is None:
        data, defaults = demo_data(write=write)
        overrides = {**defaults, **overrides}
        notes.append(f"no data=: the built-in street scenes, {data}")
    report = check_for_training(data)
    check_fits_data(overrides, report.names, report.splits, report.splits["train"].boxes)
    say_left_out(report)
    named = [request.teacher] if isinstance(request.teacher, str) else list(request.teacher or ())
    if not named:
        named = [demo_teacher(data, overrides, write=write)]
        notes.append(f"no --teacher: a small demo teacher, {named[0]}")
    models = load_teachers(named, trust=request.trust_weights)
    teachers = [
        EMA_TEACHER if name == EMA_TEACHER else str(Path(str(models[name].pt_path)).resolve()) for name in named
    ]
    student = find_weights(request.student) if request.student else None
    if student is None:
        if not models:
            raise ConfigError("--teacher ema is the student's own average: name the student with --student.")
        model = next(iter(models.values()))
        student, note = default_student(str(Path(str(model.pt_path)).resolve()), model)
        notes.append(note)
    task = task_of(student, trust=request.trust_weights)
    if task != report.task:
        report = check_for_training(data, task)
    teacher = teachers[0] if len(teachers) == 1 else teachers
    config = resolve_distill(teacher, trust_weights=request.trust_weights, **asked)
    plan = Plan(config, student, str(data), report.sha256, overrides, tuple(notes))
    if asked.get("loss", DEFAULT_LOSS) == DEFAULT_LOSS:
        asked["loss"] = chosen_for(plan, list(models.values()), report.splits["train"].boxes)
        plan = replace(plan, config=resolve_distill(teacher, trust_weights=request.trust_weights, **asked))
    known = {name: model for name, model in zip(teachers, (models.get(name) for name in named), strict=True) if model}
    return replace(plan, lines=tuple(check_plan(plan, known)))


def chosen_for(plan: Plan, teachers: Sequence[nn.Module], boxes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What ``--loss auto`` is for a plan."""
    student, kept = load_student(plan), KeptClasses.of(plan.overrides)
    trainer_for(network_task(student.model))
    return choose(student_for(student.model, read_data_yaml(plan.data), single=kept.single), teachers, kept, boxes)


def check_plan(plan: Plan, teachers: dict[str, Any]) -> list[str]:
    """Lines on what the run would do.

    Args:
        plan: the run.
        teachers: models by their name in the configuration; they are fused.

    Raises:
        ConfigError: networks, terms, data and arguments that do not fit together.
        InputError: a student that is missing or unusable.
    """
    student = load_student(plan)
    trainer_for(network_task(student.model))
    return check_distillation(plan.config, student.model, teachers, read_data_yaml(plan.data), plan.overrides)


def load_teachers(names: Sequence[str], *, trust: bool) -> dict[str, Any]:
    """The teachers' models by name; the moving average has none yet.

    Raises:
        InputError: a file is missing or unusable.
    """
    files = {name: find_weights(name) for name in names if name != EMA_TEACHER}
    return {name: open_teacher(file, trust=trust) for name, file in files.items()}


def load_student(plan: Plan) -> Any:
    """The student as ultralytics' ``YOLO``, loaded safely.

    Raises:
        InputError: the file is missing or unusable, or it cannot be distilled.
    """
    enforce_safe_loading()
    if is_model_yaml(plan.student):
        return open_network(plan.student, check_model_yaml(plan.student, "student"))
    trust = plan.config.trust_weights
    model, _ = load_checkpoint(plan.student, trust=trust, flag="--student")  # the clear error, before ultralytics'
    detector_head(model, "student")
    refuse_quantized(model, plan.student, "as a student")
    with _trust(plan):
        return YOLO(plan.student)


def _trust(plan: Plan) -> contextlib.AbstractContextManager[None]:
    """With ``--trust-weights``, ultralytics may open these weights, and what this run saves of them, without limits."""
    if not plan.config.trust_weights:
        return contextlib.nullcontext()
    return trusted(plan.student, *plan.config.teachers, str(plan.overrides.get("project", "runs")))


def distil(plan: Plan) -> Result:
    """Trains the student.

    Raises:
        ConfigError: the task has no distillation trainer.
        KDYoloError: see the trainer.
    """
    enforce_safe_loading()
    student = load_student(plan)
    trainer = trainer_for(network_task(student.model))
    kd = {"config": plan.config.model_dump(), "data_sha256": plan.data_sha256}
    if plan.baseline:
        kd[ASKED] = str(Path(plan.student).absolute()) if Path(plan.student).is_file() else plan.student
    with _trust(plan):
        return _train(student, trainer, {**plan.overrides, "data": plan.data, "kd": kd})


def resume(path: str, overrides: dict[str, Any], *, teacher: Sequence[str] = (), trust_weights: bool = False) -> Result:
    """Continues an interrupted run from its ``last.pt``.

    Args:
        path: the checkpoint.
        overrides: ultralytics arguments that may change on resume (device, workers, patience, ...).
        teacher: where the teachers are now, if they were moved.
        trust_weights: the checkpoint and the teacher may hold classes outside the allow-list.

    Raises:
        ConfigError: arguments that a resumed run cannot change.
        InputError: the checkpoint is missing, finished, or of another kind of run; data that does not fit.
    """
    enforce_safe_loading()
    check_changes(overrides)
    last = Path(path)
    require_unfinished(last, progress_of(last, trust=trust_weights), "--student")
    folder = run_folder(path)
    ckpt = load_checkpoint_dict(last, trust=trust_weights)
    kd = (ckpt.get("train_args") or {}).get("kd")
    if not isinstance(kd, dict) or not isinstance(kd.get("config"), dict):
        raise InputError(f"{path} is not an unfinished distillation run: --resume takes its weights/last.pt.")
    trainer = trainer_for(task_of(str(last), trust=trust_weights))
    moved = [name if name == EMA_TEACHER else locate_teacher(name) for name in teacher]
    known = DistillConfig.parse(kd["config"], path).teachers
    if moved and len(moved) != len(known):
        raise ConfigError(
            f"the run has {len(known)} teacher(s), --teacher names {len(moved)}: name all, in their order."
        )
    openable = (str(folder), *(moved or known))
    with trusted(*openable) if trust_weights else contextlib.nullcontext():
        now = moved[0] if len(moved) == 1 else moved or None
        return _train(
            YOLO(last),
            trainer,
            {**overrides, "resume": str(last), "teacher": now, "trust_weights": trust_weights or None},
        )


def finished_run(path: str, *, trust_weights: bool = False) -> Result | None:
    """The finished run of a ``last.pt``, as :func:`resume` would return it; None when it is not finished.

    Raises:
        InputError: the checkpoint is unusable.
    """
    last = Path(path)
    if progress_of(last, trust=trust_weights) is not Progress.FINISHED:
        return None
    ckpt = load_checkpoint_dict(last, trust=trust_weights)
    arguments, noted = saved_arguments(ckpt, path), ckpt.get(STATE)
    if not isinstance(noted, dict) or not isinstance(noted.get("config"), dict):
        return None
    teachers = DistillConfig.parse(noted["config"], path).teachers
    return Result(
        save_dir=run_folder(path),
        best=last.with_name("best.pt"),
        metrics={},
        teacher=next((name for name in teachers if name != EMA_TEACHER), None),
        task=str(arguments.get("task", "detect")),
        imgsz=int(arguments.get("imgsz", 640)),
        baseline=noted.get(ASKED),
        is_int8=is_int8(arguments.get("quantize")),
    )


def _train(student: YOLO, trainer: Any, arguments: dict[str, Any]) -> Result:
    run = run_training(student, trainer, arguments, resume_command="kd-yolo distill --resume {last}")
    return Result(
        save_dir=Path(run.save_dir),
        best=Path(run.best),
        metrics=dict(run.metrics or {}),
        teacher=next((name for name in run.kd_config.teachers if name != EMA_TEACHER), None),
        task=str(run.args.task),
        imgsz=int(run.args.imgsz),
        baseline=run.args.kd.get(ASKED),
        is_int8=is_int8(run.args.quantize),
    )


def with_run_folder(plan: Plan, name: str | None = None) -> Plan:
    """Sets ``project`` and ``name`` where the user did not: ``runs/distill/<student>-<losses>``."""
    losses = "+".join(term.loss for term in plan.config.terms)
    defaults = {"project": str(Path("runs/distill").resolve()), "name": name or f"{Path(plan.student).stem}-{losses}"}
    return replace(plan, overrides={**defaults, **plan.overrides})
