"""Checks a plain training before its folder is made: arguments against its data and its network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.training.stage import task_of
from kd_yolo.training.trainers import RETRAINERS
from kd_yolo.yolo.arguments.fit import check_fits_data, check_fits_model, wrong_for_task
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.quantized_state import refuse_quantized


def check_data_arguments(arguments: Mapping[str, Any]) -> None:
    """Checks ``classes=`` and ``split=`` where ``data=`` is a data YAML; a classifier's folder has neither.

    Raises:
        ConfigError: a value that does not fit.
        InputError: the data YAML is missing or unusable.
    """
    data = arguments.get("data")
    if data is not None and Path(str(data)).suffix in {".yaml", ".yml"}:
        spec = read_data_yaml(str(data))
        check_fits_data(arguments, spec.names, spec.splits)


def check_training(weights: str, arguments: Mapping[str, Any], *, trust: bool = False) -> None:
    """Checks the arguments of a training against its data and its network.

    Args:
        weights: a checkpoint or a model YAML.
        arguments: ultralytics arguments, checked by themselves.
        trust: ``--trust-weights``.

    Raises:
        ConfigError: a value that does not fit.
        InputError: weights or data that cannot be used.
    """
    check_data_arguments(arguments)
    if weights.endswith((".yaml", ".yml")):  # how many layers it builds is known to the trainer, which checks again
        problems = wrong_for_task(arguments, task_of(weights))
        if problems:
            raise ConfigError("\n".join(problems))
        return
    model: Any = load_checkpoint(weights, trust=trust)[0]
    refuse_quantized(model, weights, "to start from")
    task = str(model.task)
    if task in RETRAINERS:
        check_fits_model(arguments, model, task)
