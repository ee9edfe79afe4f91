"""A league with everything filled in and checked, before anything is written or trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.places import find_weights
from kd_yolo.base.reading import shown
from kd_yolo.builtin.demo import demo_data
from kd_yolo.config.base import MAX_COUNT
from kd_yolo.config.league import NONE, SHIPPED, TEACHER, Recipe, parse_recipes
from kd_yolo.data.check import check_for_training
from kd_yolo.data.spec import list_images, read_data_yaml
from kd_yolo.distill.defaults import default_student
from kd_yolo.distill.trainer import trainer_for
from kd_yolo.league.fit import check_recipes
from kd_yolo.league.job import Job, Kind
from kd_yolo.league.request import Request
from kd_yolo.league.results import TEACHER_FILE, run_name
from kd_yolo.pipeline.stages import check_weights
from kd_yolo.pipeline.state import file_hash
from kd_yolo.training.stage import task_of
from kd_yolo.yolo.arguments.check import find_problems
from kd_yolo.yolo.arguments.fit import check_fits_data
from kd_yolo.yolo.arguments.values import NAME
from kd_yolo.yolo.evaluate import check_data
from kd_yolo.yolo.files.loading import load_checkpoint

NO_TEACHER = (
    "--teacher is missing: weights that know the data (--teacher runs/detect/train/weights/best.pt), or weights that"
    " are fine-tuned on it first (--teacher yolov8s.pt --teacher-epochs 20)."
)
OF_SHIPPED = ("dis",)  # the weight of ultralytics' own distillation
QUIET: dict[str, Any] = {"plots": False, "verbose": False}
WITHOUT_EFFECT = (*QUIET, "save_period")  # on the result
TEACHER_SEED = 0
KINDS: dict[str, Kind] = {NONE: "plain", SHIPPED: "shipped"}


@dataclass(frozen=True)
class League:
    """All runs of a league.

    Attributes:
        folder: where the runs are.
        out: where the results go.
        student: what every run starts from.
        teacher: the run that scores, and if asked for trains, the teacher.
        jobs: the student's runs, seed by seed.
        notes: what was filled in.
    """

    folder: Path
    out: Path
    student: str
    teacher: Job
    jobs: tuple[Job, ...]
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> list[Job]:
        """Runs that are not finished; the teacher's, if it is one of them or its weights are needed, first."""
        jobs = [job for job in self.jobs if not job.target.is_file()]
        is_needed = any(job.teacher for job in jobs) and not self.teacher.best.is_file()
        return [self.teacher, *jobs] if is_needed or not self.teacher.target.is_file() else jobs


def make_league(request: Request, *, write: bool = True) -> League:
    """Fills in and checks everything.

    Args:
        request: what the user asked for.
        write: may built-in data be drawn.

    Raises:
        ConfigError: options that are unknown or do not fit together.
        InputError: weights or data that are missing or unusable.
    """
    recipes = parse_recipes(request.losses)
    _check_request(request)
    data, arguments, notes = _find_data(request, write=write)
    folder, out = folders(arguments.pop("project", None), request.name, request.out, data)
    report, split = check_for_training(data), _split(data)
    check_fits_data(arguments, report.names, report.splits, report.splits["train"].boxes)
    teacher = _find_teacher(request, data, split)
    student = _find_student(request, teacher, notes)
    check_recipes(recipes, (student, teacher), data, arguments, request)
    settings = {
        "student": {"name": Path(student).name, "sha256": file_hash(student)},
        "teacher": {"name": Path(teacher).name, "sha256": file_hash(teacher), "epochs": request.teacher_epochs},
        "data": {"name": data_name(data), "sha256": report.sha256, "split": split},
        "train": {key: value for key, value in arguments.items() if key not in WITHOUT_EFFECT},
    }
    shared = _Shared(folder, out, data, split, {**QUIET, **arguments}, settings, request.trust)
    teacher_job = shared.teacher_job(teacher, request.teacher_epochs)
    jobs = [shared.job(recipe, seed, student, teacher_job.best) for seed in request.seeds for recipe in recipes]
    return League(folder, out, student, teacher_job, tuple(jobs), tuple(notes))


def folders(project: str | None, name: str | None, out: Path | None, data: str | None) -> tuple[Path, Path]:
    """Where the runs are and where the results go.

    Raises:
        ConfigError: nothing says which league it is.
    """
    name = name or (data_name(data) if data is not None else None) or (out.resolve().name if out is not None else None)
    if name is None:
        raise ConfigError("which league? Say its --name, its --out or its data=.")
    if not NAME.holds(name):
        raise ConfigError(f"--name is {shown(name)}, expected {NAME.expected}.")
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out is {out}, which is a file, expected a folder.")
    folder = (Path(project or "runs/league") / name).resolve()
    return folder, folder if out is None else out.resolve()


def data_name(data: str) -> str:
    """A name for a data set: ``bccd`` for ``datasets/bccd/data.yaml`` and for ``bccd.yaml``."""
    file = Path(data).resolve()
    return file.parent.name if file.stem == "data" else file.stem


@dataclass(frozen=True)
class _Shared:
    """What the runs of a league share."""

    folder: Path
    out: Path
    data: str
    split: str
    arguments: dict[str, Any]
    settings: dict[str, Any]
    trust: bool

    def teacher_job(self, weights: str, epochs: int) -> Job:
        """The run that makes ``teacher.json``."""
        kept = {key: value for key, value in self.arguments.items() if key not in OF_SHIPPED}
        arguments = {**kept, "epochs": epochs, "seed": TEACHER_SEED}
        settings = {key: value for key, value in self.settings.items() if key != "student"}
        kind: Kind = "plain" if epochs else "score"
        recipe, target = Recipe(name=TEACHER), self.out / TEACHER_FILE
        return self._job(kind, recipe, weights, TEACHER, target, arguments=arguments, settings=settings)

    def job(self, recipe: Recipe, seed: int, student: str, teacher: Path) -> Job:
        """A run of the student."""
        name, kind = run_name(recipe.name, seed), KINDS.get(recipe.name, "distill")
        settings = {**self.settings, "recipe": recipe.resolved(), "seed": seed}
        arguments = {k: v for k, v in self.arguments.items() if kind == "shipped" or k not in OF_SHIPPED}
        return self._job(
            kind, recipe, student, name, self.out / f"{name}.json", arguments={**arguments, "seed": seed},
            settings=settings, teacher=None if kind == "plain" else str(teacher),
        )  # fmt: skip

    def _job(self, kind: Kind, recipe: Recipe, weights: str, name: str, target: Path, **own: Any) -> Job:
        own["settings"] = json.loads(json.dumps(own["settings"], default=str))  # as it reads back from the file
        return Job(
            kind=kind, recipe=recipe, seed=own["arguments"]["seed"], weights=weights, data=self.data, split=self.split,
            folder=self.folder / name, target=target, trust=self.trust, **own,
        )  # fmt: skip


def _check_request(request: Request) -> None:
    wrong = find_problems(request.arguments, "league")
    if not 0 <= request.teacher_epochs <= MAX_COUNT:
        wrong.append(f"--teacher-epochs is {request.teacher_epochs}, expected 0 (it knows the data) or more.")
    if request.teacher is None:
        wrong.append(NO_TEACHER)
    if wrong:
        raise ConfigError("\n".join(wrong))


def _find_data(request: Request, *, write: bool) -> tuple[str, dict[str, Any], list[str]]:
    """The data YAML, the other arguments, and what was filled in."""
    arguments = dict(request.arguments)
    if "data" in arguments:
        return str(read_data_yaml(str(arguments.pop("data"))).yaml_path), arguments, []
    data, defaults = demo_data(write=write)
    return data, {**defaults, **arguments}, [f"no data=: the built-in street scenes, {data}"]


def _split(data: str) -> str:
    """What is evaluated: images that no training has seen, where there are some."""
    spec = read_data_yaml(data)
    return "test" if "test" in spec.splits and list_images(spec, "test") else "val"


def _find_teacher(request: Request, data: str, split: str) -> str:
    """The teacher's weights; those that are not fine-tuned first must know the data."""
    teacher = check_weights(find_weights(str(request.teacher)), trust=request.trust)
    if request.teacher_epochs:
        return teacher
    if teacher.endswith((".yaml", ".yml")):
        raise ConfigError(f"--teacher {request.teacher} has learnt nothing yet: add --teacher-epochs 20.")
    try:
        check_data(load_checkpoint(teacher, trust=request.trust)[0], data, split)
    except InputError as error:
        raise InputError(f"{error} To do that first: --teacher-epochs 20.") from error
    return teacher


def _find_student(request: Request, teacher: str, notes: list[str]) -> str:
    """The student; the next smaller size of the teacher when it was not said, with a note."""
    student = find_weights(request.student) if request.student else None
    if student is None and teacher.endswith((".yaml", ".yml")):
        raise ConfigError("--student is missing: weights, or a model YAML such as yolov8n.yaml.")
    if student is None:
        student, note = default_student(teacher, load_checkpoint(teacher, trust=request.trust)[0])
        notes.append(note)
    student = check_weights(student, trust=request.trust)
    trainer_for(task_of(student, trust=request.trust))
    return student
