"""Configuration of one distillation term: the loss, its weight, taps, gate and schedule."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.config.base import StrictModel
from kd_yolo.config.options import DEFAULTS, Gate
from kd_yolo.geometry.schedule import Schedule, ScheduleKind
from kd_yolo.losses import FeatureLoss, build_loss, losses

Taps = Literal["head", "cv2"] | list[int]

MAX_WEIGHT = 1e9
OF_THE_NETWORKS = ("channels", "bins")  # parameters of losses that the networks decide
AUTO = "auto:"  # a weight that follows the gradients: ``auto:0.3``


class ScheduleConfig(StrictModel):
    """How a term's weight changes over the whole run.

    Attributes:
        kind: cosine, constant or linear.
        end: weight at the end of cosine and linear, as a share of the start.
        stop_at: progress in (0, 1] from which on the term is off, ``"mosaic"`` (when mosaic closes; never if it stays
            open), or None.
    """

    kind: ScheduleKind = DEFAULTS.schedule
    end: float = Field(default=0.1, ge=0, le=1)
    stop_at: float | Literal["mosaic"] | None = None

    @field_validator("stop_at", mode="before")
    @classmethod
    def _check_stop(cls, value: Any) -> Any:
        if value is None or value == "mosaic":
            return value
        try:
            share = float(value)
        except (TypeError, ValueError, OverflowError):
            share = -1.0
        if not 0 < share <= 1:
            raise ValueError(f"stop_at={shown(value)}, expected a share in (0, 1], or 'mosaic'.")
        return share

    def build(self, epochs: int, close_mosaic: int) -> Schedule:
        """The schedule of a run of ``epochs`` epochs whose last ``close_mosaic`` epochs have no mosaic."""
        stop_at = self.stop_at
        if stop_at == "mosaic":  # the division that progress makes when that epoch begins: no rounding between them
            stop_at = max(epochs - close_mosaic, 0) / epochs if close_mosaic else None
        return Schedule(self.kind, self.end, stop_at)


class TermConfig(StrictModel):
    """One distillation term.

    Attributes:
        loss: a registered loss name (``train_distill.py --list-losses``).
        weight: factor of the term; 0 switches it off. ``auto:0.3`` sets :attr:`share` instead.
        share: the weight follows the gradients: that of the term is kept at this share of the sum of the task's and the
            term's own gradient norms, times the schedule. None keeps the weight as it is.
        teacher: number of the teacher that the term looks at, from 1; None is the mean over all teachers.
        params: the loss's own parameters (``tau``, ``alpha``, ...).
        taps: which features a feature loss compares: ``head`` (the Detect inputs), ``cv2`` (neck blocks that end in a
            ``cv2``), or layer numbers, the same in student and teacher. Response losses ignore nothing: they refuse it.
        adapter: ``auto`` (identity when channels agree, else 1x1), ``conv1x1``, or ``mlp`` (1x1-ReLU-1x1).
        standardize: standardise every channel of both sides over (N,H,W) before a feature loss.
        gate: weight of an anchor in a response loss: the teacher's ``confidence`` (its highest class score),
            ``balanced`` (the same, every class of a batch counting alike), ``assigned`` (1 where the student's
            task-aligned assigner sees an object, else 0), or ``all``.
        schedule: the term's own schedule; None takes the run's.
    """

    loss: str
    weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT, allow_inf_nan=False)
    share: float | None = Field(default=None, gt=0, lt=1)
    teacher: int | None = Field(default=None, ge=1)
    params: dict[str, Any] = Field(default_factory=dict)
    taps: Taps | None = None
    adapter: Literal["auto", "conv1x1", "mlp"] | None = None
    standardize: bool | None = None
    gate: Gate | None = None
    schedule: ScheduleConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("loss") not in losses:
            return values
        found = losses.get(values["loss"])
        defaults: dict[str, Any] = {"weight": found.default_weight}
        if issubclass(found, FeatureLoss):
            defaults |= {
                "taps": DEFAULTS.taps,
                "adapter": found.default_adapter,
                "standardize": found.default_standardize,
            }
        else:
            defaults["gate"] = DEFAULTS.gate
        said = {k: v for k, v in values.items() if v is not None or k not in cls.model_fields}  # "taps:" says nothing
        said |= _share_of(said.get("weight"))
        if not {"weight", "share"} & said.keys():  # a weight that is said is that weight, also in an earlier run's file
            defaults["share"] = found.default_share
        return {**defaults, **said}

    @field_validator("loss")
    @classmethod
    def _check_loss(cls, value: str) -> str:
        if value not in losses:
            known = losses.names()
            raise ValueError(
                f"unknown loss '{shown(value)[1:-1]}'.{nearest(value[:100], known)} Known: {', '.join(known)}."
            )
        return value

    @field_validator("params", mode="before")
    @classmethod
    def _check_params(cls, value: Any, info: ValidationInfo) -> Any:
        value = {} if value is None else value
        loss = info.data.get("loss")  # absent when it is wrong itself
        if loss is not None and isinstance(value, dict):
            problems = _wrong_parameters(loss, value)
            if problems:
                raise ValueError(" ".join(problems))
        return value

    @field_validator("taps", mode="before")
    @classmethod
    def _check_taps(cls, value: Any) -> Any:
        if value is None or value in ("head", "cv2"):
            return value
        if isinstance(value, list) and value and all(type(layer) is int for layer in value):
            if len(set(value)) == len(value):
                return value
            raise ValueError(f"taps={shown(value)} names a layer twice.")
        raise ValueError(f"taps={shown(value)}, expected 'head', 'cv2' or layer numbers such as [15, 18, 21].")

    @model_validator(mode="after")
    def _check_kind(self) -> TermConfig:
        foreign = ("gate",) if self.kind == "feature" else ("taps", "adapter", "standardize")
        problems = [f"'{key}'" for key in foreign if getattr(self, key) is not None]
        if problems:
            verb = "has" if len(problems) == 1 else "have"
            raise ValueError(f"{', '.join(problems)} {verb} no meaning for the {self.kind} loss '{self.loss}'")
        return self

    @property
    def kind(self) -> str:
        """``"feature"`` or ``"response"``."""
        return losses.get(self.loss).kind


def parse_taps(text: str) -> str | list[int]:
    """``"15,18,21"`` as layer numbers; any other text as it is, for the check of the term."""
    return [int(layer) for layer in text.split(",")] if re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text) else text


def _share_of(weight: Any) -> dict[str, Any]:
    """What ``weight: auto:0.3`` means; nothing for a weight that is a number."""
    if not (isinstance(weight, str) and weight.startswith(AUTO)):
        return {}
    try:
        return {"weight": 1.0, "share": float(weight.removeprefix(AUTO))}
    except ValueError:
        raise ValueError(f"weight={weight!r}, expected a number, or auto:0.3 with a share between 0 and 1.") from None


def _wrong_parameters(loss: str, params: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of a loss; their values are known to fit once the loss was built with them."""
    known = losses.parameters(loss)
    unknown = [key for key in params if key not in known]
    if unknown:
        takes = f"It takes: {', '.join(known) or 'none'}."
        return [*(f"loss '{loss}' has no parameter '{key}'.{nearest(key, known)}" for key in unknown), takes]
    settled = [key for key in OF_THE_NETWORKS if key in params]
    if settled:
        return [f"loss '{loss}': {', '.join(settled)} follow from the networks: leave them out."]
    required = {key: 1 for key, parameter in known.items() if parameter.default is parameter.empty}
    try:
        build_loss(loss, **{**required, **params})
    except ConfigError as error:
        return [str(error)]
    return []
