"""Checks every recipe of a league against the networks and the data, before the first training."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.config.distill import DEFAULT_LOSS, DistillConfig, resolve_distill
from kd_yolo.config.league import Recipe
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.distill.classes import student_for
from kd_yolo.distill.job import Plan, check_plan, chosen_for, load_student
from kd_yolo.distill.teachers.file import open_teacher
from kd_yolo.league.request import Request


def check_recipes(
    recipes: Sequence[Recipe], networks: tuple[str, str], data: str, arguments: dict[str, Any], request: Request
) -> None:
    """Builds the terms of every recipe as its run will.

    Args:
        recipes: all rows.
        networks: student and teacher.
        data: data YAML.
        arguments: ultralytics arguments.
        request: what the user asked for.

    Raises:
        ConfigError: recipes that do not fit, a line each.
    """
    student, teacher = networks
    known: dict[str, Any] = {}
    problems = []
    for recipe in recipes:
        if recipe.kind != "distill":
            continue
        weights = student if recipe.control == "student" else teacher
        config = resolve_distill(weights, recipe.loss, trust_weights=request.trust, **recipe.flags)
        plan = Plan(config, student, data, "", arguments)
        if weights not in known:
            known[weights] = _teacher(config, weights, data, request, single=bool(arguments.get("single_cls")))
        try:
            if recipe.loss == DEFAULT_LOSS:
                chosen = chosen_for(plan, [deepcopy(known[weights])])
                config = resolve_distill(weights, chosen, trust_weights=request.trust, **recipe.flags)
                plan = replace(plan, config=config)
            check_plan(plan, {weights: deepcopy(known[weights])})
        except KDYoloError as error:
            problems.append(f"{recipe.name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))


def _teacher(config: DistillConfig, teacher: str, data: str, request: Request, *, single: bool) -> Any:
    """The teacher's network; one that is fine-tuned first will have the data's classes."""
    if teacher.endswith((".yaml", ".yml")):
        network = load_student(Plan(config, teacher, data, "", {})).model
    else:
        network = open_teacher(teacher, trust=request.trust)
    return student_for(network, read_data_yaml(data), single=single) if request.teacher_epochs else network
