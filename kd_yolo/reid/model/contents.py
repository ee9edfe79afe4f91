"""What a ReID checkpoint may say of itself: strict models, so that nothing else reaches the code behind them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown
from kd_yolo.reid.model.settings import MAX_EPOCHS, MAX_IDENTITIES, NetworkConfig

FORMAT = "kd-yolo reid"
VERSION = 1
_MAX_SHOWN = 3
Identity = int | str
Row = dict[str, float]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )


class OptimizerState(_Strict):
    """``state_dict()`` of an optimizer; its groups are made again from the settings."""

    state: dict[int, dict[str, Tensor | int | float]]
    param_groups: list[dict[str, Any]]


class TrainState(_Strict):
    """What a run goes on from.

    Attributes:
        objective, optimizer, scaler: their ``state_dict()``.
        generator: state of torch's generator.
        rows: of ``results.csv``, one for each epoch that is done.
        best: metrics of the best epoch.
    """

    objective: dict[str, Tensor]
    optimizer: OptimizerState
    scaler: dict[str, int | float]
    generator: Tensor
    rows: list[Row] = Field(max_length=MAX_EPOCHS)
    best: Row

    @model_validator(mode="after")
    def _epochs(self) -> TrainState:
        wrong = [row for row in (*self.rows, self.best) if row and "epoch" not in row]
        if wrong or not all(self.rows):
            raise ValueError("results without an epoch")
        return self


class Extra(_Strict):
    """What our commands add.

    Attributes:
        settings: of the run, see :class:`kd_yolo.reid.settings.ReIDConfig`.
        train: of a run that is not finished.
        pruned: where a pruned network came from.
    """

    settings: dict[str, Any] | None = None
    train: TrainState | None = None
    pruned: dict[str, str | float] | None = None


class Contents(_Strict):
    """A checkpoint as it lies in a file."""

    format: Literal["kd-yolo reid"]
    version: int = Field(ge=1, le=VERSION)
    config: NetworkConfig
    state_dict: dict[str, Tensor]
    identities: list[Identity] = Field(max_length=MAX_IDENTITIES)
    metrics: Row
    epoch: int = Field(ge=0, le=MAX_EPOCHS)
    extra: Extra

    @model_validator(mode="after")
    def _fits(self) -> Contents:
        if self.identities and len(self.identities) != self.config.num_identities:
            raise ValueError(f"{len(self.identities)} identities, config.num_identities={self.config.num_identities}")
        return self


def check_contents(values: dict[str, Any], source: str) -> Contents:
    """Validates the values in a file.

    Args:
        values: of a file that says that it is a ReID checkpoint.
        source: its name, for the message.

    Raises:
        InputError: something in it is not what a checkpoint holds.
    """
    version = values.get("version")
    if type(version) is int and version > VERSION:
        raise InputError(
            f"{source} has checkpoint version {shown(version)}, this kd-yolo reads up to {VERSION}: update kd-yolo."
        )
    try:
        return Contents.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=True)
        found = "; ".join(_problem(problem) for problem in problems[:_MAX_SHOWN])
        raise InputError(f"{source} lacks or has what a ReID checkpoint does not ({found}): train it again.") from None


def _problem(problem: Any) -> str:
    path = ".".join(shown(part, 60).strip("'") for part in problem["loc"])
    if problem["type"] in {"extra_forbidden", "missing"}:
        return f"{'unknown key' if problem['type'] == 'extra_forbidden' else 'no'} '{path}'"
    value = "" if problem["type"] == "value_error" else f", got {_kind(problem['input'])}"
    return f"{path + ': ' if path else ''}{problem['msg'].removeprefix('Value error, ')}{value}"


def _kind(value: Any) -> str:
    return f"a tensor of shape {shown(tuple(value.shape))}" if isinstance(value, Tensor) else shown(value, 60)
