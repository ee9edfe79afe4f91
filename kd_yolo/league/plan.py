"""A league with everything filled in and checked, before anything is written or trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.places import find_weights
from kd_yolo.base.reading import shown
from kd_yolo.builtin.demo import demo_data
from kd_yolo.config.base import MAX_COUNT
from kd_yolo.config.league import Control, Recipe, parse_recipes
from kd_yolo.config.rows import SHIPPED, TEACHER
from kd_yolo.data.check import DataReport, check_for_training
from kd_yolo.data.spec import list_images, read_data_yaml
from kd_yolo.distill.defaults import default_student
from kd_yolo.distill.teachers.file import open_teacher
from kd_yolo.distill.trainer import trainer_for
from kd_yolo.league.fit import check_recipes
from kd_yolo.league.job import Job
from kd_yolo.league.jobs import QUIET, WITHOUT_EFFECT, JobMaker, typed
from kd_yolo.league.request import Request
from kd_yolo.league.results import read_result
from kd_yolo.pipeline.stages import check_weights
from kd_yolo.pipeline.state import file_hash
from kd_yolo.training.stage import task_of
from kd_yolo.yolo.arguments.check import find_problems
from kd_yolo.yolo.arguments.fit import check_fits_data
from kd_yolo.yolo.arguments.values import NAME
from kd_yolo.yolo.evaluate import check_data
from kd_yolo.yolo.exported import SUFFIX, is_exported
from kd_yolo.yolo.families import RTDETR
from kd_yolo.yolo.files.loading import load_checkpoint

NO_TEACHER = (
    "--teacher is missing: weights that know the data (--teacher runs/detect/train/weights/best.pt), or weights that"
    " are fine-tuned on it first (--teacher yolov8s.pt --teacher-epochs 20)."
)


@dataclass(frozen=True)
class League:
    """All runs of a league.

    Attributes:
        folder: where the runs are.
        out: where the results go.
        student: what every run starts from.
        teachers: the runs that score, and if asked for train, the teacher and those of the controls.
        jobs: the student's runs, seed by seed.
        notes: what was filled in.
    """

    folder: Path
    out: Path
    student: str
    teachers: tuple[Job, ...]
    jobs: tuple[Job, ...]
    notes: tuple[str, ...] = ()

    @property
    def teacher(self) -> Job:
        """The first run of the teacher."""
        return self.teachers[0]

    @property
    def missing(self) -> list[Job]:
        """Runs that are not finished; teachers, if they are among them or their weights are needed, first."""
        jobs = [job for job in self.jobs if not job.target.is_file()]
        needed = {job.teacher for job in jobs}
        teachers = [
            job for job in self.teachers
            if not job.target.is_file() or (str(job.best) in needed and not job.best.is_file())
        ]  # fmt: skip
        return [*teachers, *jobs]


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
    _check_request(request, {recipe.control for recipe in recipes})
    data, arguments, notes = _find_data(request, write=write)
    folder, out = folders(arguments.pop("project", None), request, data)
    report, split = check_for_training(data), _check_split(request.split, data)
    _check_arguments([{**arguments, **typed(recipe)} for recipe in recipes], report)
    teacher = _find_teacher(request, data, split)
    student = _find_student(request, teacher, notes)
    recipes = _without_shipped(recipes, (student, teacher), notes, trust=request.trust)
    check_recipes(recipes, (student, teacher), data, arguments, request)
    settings = {
        "student": {"name": Path(student).name, "sha256": file_hash(student)},
        "teacher": {"name": Path(teacher).name, "sha256": file_hash(teacher), "epochs": request.teacher_epochs},
        "data": {"name": data_name(data), "sha256": report.sha256, "split": split},
        "train": {key: value for key, value in arguments.items() if key not in WITHOUT_EFFECT},
    }
    maker = JobMaker(
        folder, out, data, split, student, teacher, request.teacher_epochs, request.teacher_seeds,
        {**QUIET, **arguments}, settings, request.trust,
    )  # fmt: skip
    return League(folder, out, student, maker.teachers(recipes), maker.students(recipes, request.seeds), tuple(notes))


def _without_shipped(
    recipes: tuple[Recipe, ...], networks: tuple[str, str], notes: list[str], *, trust: bool
) -> tuple[Recipe, ...]:
    """The rows without ultralytics' own distillation where it does not take a network: an RT-DETR, an ONNX file.

    Raises:
        ConfigError: such a row was asked for.
    """
    exported = any(is_exported(network) for network in networks)
    if not exported and RTDETR not in (task_of(network, trust=trust) for network in networks):
        return recipes
    why = f"ultralytics' own distillation takes no {'ONNX file' if exported else 'RT-DETR'}"
    asked = [recipe.name for recipe in recipes if recipe.kind == "shipped" and recipe.name != SHIPPED]
    if asked:
        raise ConfigError(f"{', '.join(asked)}: {why}. Leave it out.")
    notes.append(f"no row '{SHIPPED}': {why}")
    return tuple(recipe for recipe in recipes if recipe.kind != "shipped")


def _check_arguments(rows: list[dict[str, Any]], report: DataReport) -> None:
    """Checks the arguments of every row against the data."""
    for arguments in rows:
        check_fits_data(arguments, report.names, report.splits, report.splits["train"].boxes)


def folders(project: str | None, request: Request, data: str | None) -> tuple[Path, Path]:
    """Where the runs are and where the results go: those of the test split apart from those of val.

    Raises:
        ConfigError: nothing says which league it is.
        InputError: a result that is not one of a league.
    """
    name, out = request.name, request.out
    name = name or (data_name(data) if data is not None else None) or (out.resolve().name if out is not None else None)
    if name is None:
        raise ConfigError("which league? Say its --name, its --out or its data=.")
    if not NAME.holds(name):
        raise ConfigError(f"--name is {shown(name)}, expected {NAME.expected}.")
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out is {out}, which is a file, expected a folder.")
    folder = (Path(project or "runs/league") / name).resolve()
    if out is not None:
        return folder, out.resolve()
    return folder, folder / "test" if request.split == "test" and not _is_scored_on_test(folder) else folder


def _is_scored_on_test(folder: Path) -> bool:
    """Whether an earlier league kept its results on the test split, its only one, where those of val are now."""
    score = folder / f"{TEACHER}.json"
    return score.is_file() and read_result(score)["split"] == "test"


def data_name(data: str) -> str:
    """A name for a data set: ``bccd`` for ``datasets/bccd/data.yaml`` and for ``bccd.yaml``."""
    file = Path(data).resolve()
    return file.parent.name if file.stem == "data" else file.stem


def _check_request(request: Request, controls: set[Control | None]) -> None:
    wrong = find_problems(request.arguments, "league")
    if not 0 <= request.teacher_epochs <= MAX_COUNT:
        wrong.append(f"--teacher-epochs is {request.teacher_epochs}, expected 0 (it knows the data) or more.")
    if request.teacher is None:
        wrong.append(NO_TEACHER)
    if len(request.seeds) % len(request.teacher_seeds):
        wrong.append(
            f"--teacher-seeds names {len(request.teacher_seeds)} runs of the teacher for {len(request.seeds)} --seeds:"
            " expected one, one a seed, or a number that divides them evenly."
        )
    if len(request.teacher_seeds) > 1 and not request.teacher_epochs:
        wrong.append(
            "--teacher-seeds does nothing without --teacher-epochs: a teacher that is not trained has one run."
        )
    if "student" in controls and not request.teacher_epochs:
        wrong.append(
            "teacher=student does nothing without --teacher-epochs: the student is fine-tuned as the teacher is."
        )
    if "random" in controls and str(request.teacher).endswith((".yaml", ".yml", SUFFIX)):
        wrong.append(
            f"teacher=random needs weights whose network is made from scratch, --teacher is {request.teacher}."
        )
    if request.teacher_epochs and is_exported(str(request.teacher)):
        wrong.append(f"--teacher-epochs: {request.teacher} is an ONNX file, which is not trained. Leave it out.")
    if wrong:
        raise ConfigError("\n".join(wrong))


def _find_data(request: Request, *, write: bool) -> tuple[str, dict[str, Any], list[str]]:
    """The data YAML, the other arguments, and what was filled in."""
    arguments = dict(request.arguments)
    if "data" in arguments:
        return str(read_data_yaml(str(arguments.pop("data"))).yaml_path), arguments, []
    data, defaults = demo_data(write=write)
    return data, {**defaults, **arguments}, [f"no data=: the built-in street scenes, {data}"]


def _check_split(split: str, data: str) -> str:
    """The split to evaluate; it has images.

    Raises:
        InputError: there is no such split.
    """
    spec = read_data_yaml(data)
    if split not in spec.splits or not list_images(spec, split):
        raise InputError(f"--split {split}: {data} has no images in '{split}', only in {', '.join(spec.splits)}.")
    return split


def _find_teacher(request: Request, data: str, split: str) -> str:
    """The teacher's weights; those that are not fine-tuned first must know the data."""
    found = find_weights(str(request.teacher))
    if is_exported(found):
        return _exported_teacher(found, data, split)
    teacher = check_weights(found, trust=request.trust)
    if request.teacher_epochs:
        return teacher
    if teacher.endswith((".yaml", ".yml")):
        raise ConfigError(f"--teacher {request.teacher} has learnt nothing yet: add --teacher-epochs 20.")
    try:
        check_data(load_checkpoint(teacher, trust=request.trust)[0], data, split)
    except InputError as error:
        raise InputError(f"{error} To do that first: --teacher-epochs 20.") from error
    return teacher


def _exported_teacher(name: str, data: str, split: str) -> str:
    """An ONNX file as the teacher, which is what it is: with ``--teacher-epochs`` it was refused."""
    teacher: Any = open_teacher(name)
    check_data(teacher, data, split)
    return str(Path(teacher.pt_path).resolve())


def _find_student(request: Request, teacher: str, notes: list[str]) -> str:
    """The student; the next smaller size of the teacher when it was not said, with a note."""
    student = find_weights(request.student) if request.student else None
    if student is None and teacher.endswith((".yaml", ".yml")):
        raise ConfigError("--student is missing: weights, or a model YAML such as yolov8n.yaml.")
    if student is None:
        student, note = default_student(teacher, open_teacher(teacher, trust=request.trust))
        notes.append(note)
    student = check_weights(student, trust=request.trust)
    trainer_for(task_of(student, trust=request.trust))
    return student
