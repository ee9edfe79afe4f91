"""What a distillation will look at, built before it starts: everything that can be refused is refused here.

The dry run prints what this module finds out, and a run finds it out first: so both refuse the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.data.spec import DataSpec
from kd_yolo.data.unlabelled import check_unlabelled
from kd_yolo.distill.classes import student_for
from kd_yolo.distill.cost import describe_cost
from kd_yolo.distill.kept import ALL_CLASSES, KeptClasses
from kd_yolo.distill.scores import unfamiliar
from kd_yolo.distill.teachers.cached import check_views
from kd_yolo.yolo.arguments.check import DEFAULTS, is_int8
from kd_yolo.yolo.arguments.fit import check_fits_model
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.heads import head_facts


def check_distillation(
    config: DistillConfig,
    student: nn.Module,
    teachers: Mapping[str, nn.Module],
    data: DataSpec,
    arguments: dict[str, Any],
) -> list[str]:
    """Builds all terms between the student, as it will be trained, and the teachers.

    Args:
        config: the run's configuration.
        student: the student as it was loaded.
        teachers: models by name in the configuration, the moving average excepted; they are fused.
        data: the data set.
        arguments: ultralytics arguments.

    Returns:
        Lines on the models, every term's taps, adapters and classes, and what is added to a training step.

    Raises:
        ConfigError: terms, networks, data and arguments that do not fit together.
        InputError: a network that cannot be distilled.
    """
    values = {**DEFAULTS, **arguments}
    head_facts(student, "student")
    check_fits_model(arguments, student, str(getattr(student, "task", "detect")))
    check_schedule(config, values["epochs"], values["close_mosaic"], is_timed=bool(values["time"]))
    if config.teacher_cache is not None:
        check_views(values)
    for model in teachers.values():
        if isinstance(model, ExportedDetector):
            model.check_images(values)
    if config.unlabelled is not None:
        if values["rect"]:
            raise ConfigError(
                "rect=True gives every batch a shape of its own, so no unlabelled images fit in: leave out."
            )
        check_unlabelled(config.unlabelled)
    trained = student_for(student, data, single=bool(values["single_cls"]))
    kept = KeptClasses.of(values)
    lines = describe_cost(config, trained, teachers, kept=kept, is_compiled=bool(values["compile"]))
    if is_int8(values["quantize"]):
        lines.append(
            "the student is trained for INT8 (quantize=8): its convolutions round inputs and weights to 8 bits"
        )
    if kept == ALL_CLASSES:
        lines += [line for name, model in teachers.items() if (line := unfamiliar(Path(name).name, model, trained))]
    return lines


def check_schedule(config: DistillConfig, epochs: int, close_mosaic: int, *, is_timed: bool) -> None:
    """Refuses a term with a weight that is off from the first step on; with ``time=`` epochs are not known yet.

    Raises:
        ConfigError: naming the terms.
    """
    off = [
        name
        for name, term in zip(config.term_names(), config.terms, strict=True)
        if term.weight and not (term.schedule or config.schedule).build(epochs, close_mosaic)(0.0)
    ]
    if off and not is_timed:
        raise ConfigError(
            f"stop_at=mosaic switches {', '.join(off)} off when mosaic closes, which is at once: close_mosaic="
            f"{close_mosaic} of {epochs} epochs. Set close_mosaic lower, or stop_at to a share."
        )
