"""The jobs of a league: teachers first, then the student's runs, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.config.league import Control, Recipe
from kd_yolo.config.rows import TEACHER
from kd_yolo.league.job import Job, Kind
from kd_yolo.league.results import run_name, teacher_name

OF_SHIPPED = ("dis",)  # the weight of ultralytics' own distillation
QUIET: dict[str, Any] = {"plots": False, "verbose": False}
WITHOUT_EFFECT = (*QUIET, "save_period")  # on the result


@dataclass(frozen=True)
class JobMaker:
    """Makes jobs of what the runs of a league share.

    Attributes:
        folder: where the runs are.
        out: where the results go.
        data: data YAML.
        split: what is evaluated.
        student, teacher: weights; the teacher's before it is fine-tuned.
        teacher_epochs: how long the teacher is fine-tuned; 0 is not at all.
        teacher_seeds: a run of the teacher for each.
        arguments: ultralytics arguments.
        settings: what decides the results of all.
        trust: ``--trust-weights``.
    """

    folder: Path
    out: Path
    data: str
    split: str
    student: str
    teacher: str
    teacher_epochs: int
    teacher_seeds: tuple[int, ...]
    arguments: dict[str, Any]
    settings: dict[str, Any]
    trust: bool

    def teachers(self, recipes: Sequence[Recipe]) -> tuple[Job, ...]:
        """The runs that make the teachers' weights: those of the teacher, and those of the controls."""
        controls = dict.fromkeys(recipe.control for recipe in recipes if recipe.control is not None)
        runs = [self._teacher(teacher_name(seed), seed, None) for seed in self.teacher_seeds]
        return (*runs, *(self._teacher(f"{TEACHER}-{control}", self.teacher_seeds[0], control) for control in controls))

    def students(self, recipes: Sequence[Recipe], seeds: Sequence[int]) -> tuple[Job, ...]:
        """The student's runs; those that train as long as another one come behind it."""
        ordered = sorted(recipes, key=lambda recipe: bool(recipe.cost))
        return tuple(self._student(recipe, seeds, place) for place in range(len(seeds)) for recipe in ordered)

    def _teacher(self, name: str, seed: int, control: Control | None) -> Job:
        kept = {key: value for key, value in self.arguments.items() if key not in OF_SHIPPED}
        settings = {key: value for key, value in self._settings(seed).items() if key != "student"}
        if control is not None:
            settings["control"] = control
        kind: Kind = "random" if control == "random" else "plain" if self.teacher_epochs else "score"
        return self._job(
            kind, Recipe(name=TEACHER, control=control), self.student if control == "student" else self.teacher, name,
            arguments={**kept, "epochs": self.teacher_epochs, "seed": seed}, settings=settings,
        )  # fmt: skip

    def _student(self, recipe: Recipe, seeds: Sequence[int], place: int) -> Job:
        seed, teacher_seed = seeds[place], self.teacher_seeds[place % len(self.teacher_seeds)]
        teacher = teacher_name(teacher_seed) if recipe.control is None else f"{TEACHER}-{recipe.control}"
        weights = self.folder / teacher / "weights" / "best.pt"
        if not self.teacher_epochs and recipe.control is None:
            weights = Path(self.teacher)
        settings = {**self._settings(teacher_seed), "recipe": recipe.resolved(), "seed": seed}
        own = {**self.arguments, **typed(recipe)}
        arguments = {k: v for k, v in own.items() if recipe.kind == "shipped" or k not in OF_SHIPPED}
        return self._job(
            recipe.kind, recipe, self.student, run_name(recipe.name, seed), arguments={**arguments, "seed": seed},
            settings=settings, teacher=None if recipe.kind == "plain" else str(weights),
        )  # fmt: skip

    def _settings(self, teacher_seed: int) -> dict[str, Any]:
        """What decides a result; which run of the teacher is said only where there are several."""
        if len(self.teacher_seeds) == 1:
            return self.settings
        return {**self.settings, "teacher": {**self.settings["teacher"], "seed": teacher_seed}}

    def _job(self, kind: Kind, recipe: Recipe, weights: str, name: str, **own: Any) -> Job:
        own["settings"] = json.loads(json.dumps(own["settings"], default=str))  # as it reads back from the file
        return Job(
            kind=kind, recipe=recipe, seed=own["arguments"]["seed"], weights=weights, data=self.data, split=self.split,
            folder=self.folder / name, target=self.out / f"{name}.json", trust=self.trust, **own,
        )  # fmt: skip


def typed(recipe: Recipe) -> dict[str, Any]:
    """The ultralytics arguments of one row, checked as those of all rows.

    Raises:
        ConfigError: a value that does not fit.
    """
    from kd_yolo.yolo.arguments.check import parse_overrides

    return parse_overrides([f"{key}={value}" for key, value in recipe.train.items()], command="league")
