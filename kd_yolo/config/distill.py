"""Configuration of a distillation run: the terms, their weights and taps, and the schedule."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kd_yolo.config.base import StrictModel, find_recipe, read_yaml
from kd_yolo.errors import ConfigError
from kd_yolo.geometry.schedule import Schedule, ScheduleKind
from kd_yolo.losses import build_loss, losses
from kd_yolo.registry import nearest

Taps = Literal["head", "cv2"] | list[int]

DEFAULT_LOSS = "bkd"
OTHER_CLASSES_LOSS = "cwd"  # the default when teacher and data differ in their classes

# What a bare name on the command line means beside the loss's own defaults.
TERM_DEFAULTS: dict[str, dict[str, Any]] = {
    "cwd": {"weight": 1.0, "standardize": True},
    "mgd": {"weight": 3.0},
    "l2": {"weight": 5.0},
    "pkd": {"weight": 1.0},
    "score_l2": {"weight": 6.0, "adapter": "mlp"},  # the shipped loss, weight and projector
    "bkd": {"weight": 1.0},
    "kl": {"weight": 1.0},
}


class ScheduleConfig(StrictModel):
    """How a term's weight changes over the whole run.

    Attributes:
        kind: cosine, constant or linear.
        end: weight at the end of cosine and linear, as a share of the start.
        stop_at: progress in (0, 1] from which on the term is off, ``"mosaic"`` (when mosaic closes; never if it stays
            open), or None.
    """

    kind: ScheduleKind = "cosine"
    end: float = Field(default=0.1, ge=0, le=1)
    stop_at: float | Literal["mosaic"] | None = None

    @field_validator("stop_at", mode="before")
    @classmethod
    def _check_stop(cls, value: Any) -> Any:
        if value is None or value == "mosaic":
            return value
        try:
            share = float(value)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 < share <= 1:
            raise ValueError(f"stop_at={value!r}, expected a share in (0, 1], or 'mosaic'.")
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
        weight: factor of the term; 0 switches it off.
        params: the loss's own parameters (``tau``, ``alpha``, ...).
        taps: which features a feature loss compares: ``head`` (the Detect inputs), ``cv2`` (neck blocks that end in a
            ``cv2``), or layer numbers, the same in student and teacher. Response losses ignore nothing: they refuse it.
        adapter: ``auto`` (identity when channels agree, else 1x1), ``conv1x1``, or ``mlp`` (1x1-ReLU-1x1).
        standardize: standardise every channel of both sides over (N,H,W) before a feature loss.
        gate: weight of an anchor in a response loss: the teacher's ``confidence`` (its highest class score) or ``all``.
        schedule: the term's own schedule; None takes the run's.
    """

    loss: str
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    params: dict[str, Any] = Field(default_factory=dict)
    taps: Taps | None = None
    adapter: Literal["auto", "conv1x1", "mlp"] | None = None
    standardize: bool | None = None
    gate: Literal["confidence", "all"] | None = None
    schedule: ScheduleConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("loss") not in losses.names():
            return values
        is_feature = losses.get(values["loss"]).kind == "feature"
        kind_defaults: dict[str, Any] = (
            {"taps": "head", "adapter": "auto", "standardize": False} if is_feature else {"gate": "confidence"}
        )
        said = {k: v for k, v in values.items() if v is not None or k not in cls.model_fields}  # "taps:" says nothing
        return {**kind_defaults, **TERM_DEFAULTS.get(values["loss"], {}), **said}

    @field_validator("loss")
    @classmethod
    def _check_loss(cls, value: str) -> str:
        known = losses.names()
        if value not in known:
            raise ValueError(f"unknown loss '{value}'.{nearest(value, known)} Known: {', '.join(known)}.")
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
            raise ValueError(f"taps={value} names a layer twice.")
        raise ValueError(f"taps={value!r}, expected 'head', 'cv2' or layer numbers such as [15, 18, 21].")

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


def _wrong_parameters(loss: str, params: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of a loss; their values are known to fit once the loss was built with them."""
    known = losses.parameters(loss)
    unknown = [key for key in params if key not in known]
    if unknown:
        takes = f"It takes: {', '.join(known) or 'none'}."
        return [*(f"loss '{loss}' has no parameter '{key}'.{nearest(key, known)}" for key in unknown), takes]
    required = {key: 1 for key, parameter in known.items() if parameter.default is parameter.empty}
    try:
        build_loss(loss, **{**required, **params})
    except ConfigError as error:
        return [str(error)]
    return []


class DistillConfig(StrictModel):
    """Everything that distillation adds to an ultralytics training run.

    Attributes:
        teacher: path of the teacher's weights.
        terms: what is distilled; their weighted sum is added to the detection loss.
        schedule: weight over the run, for every term without one of its own.
        trust_weights: load checkpoints that name classes outside the allow-list (runs the code they hold).
    """

    teacher: str
    terms: list[TermConfig] = Field(min_length=1)
    schedule: ScheduleConfig = ScheduleConfig()
    trust_weights: bool = False

    def term_names(self) -> list[str]:
        """Column name of every term: ``kd_cwd``, and ``kd_cwd2`` for a second one of the same loss."""
        seen: dict[str, int] = {}
        names = []
        for term in self.terms:
            seen[term.loss] = seen.get(term.loss, 0) + 1
            names.append(f"kd_{term.loss}{seen[term.loss] if seen[term.loss] > 1 else ''}")
        return names


def per_term(values: Any, count: int, flag: str) -> list[float]:
    """Spreads one value over all terms, or takes one value a term from ``"1+0.5"`` or a list.

    Raises:
        ConfigError: as many values as terms are needed, or a value is not a number.
    """
    if isinstance(values, str):
        values = re.split(r"(?<![eE])\+", values)  # 1e+3 is one number
    items = list(values) if isinstance(values, (list, tuple)) else [values]
    if len(items) == 1:
        items = items * count
    if len(items) != count:
        raise ConfigError(
            f"--{flag} has {len(items)} values for {count} loss term(s) that take it: give one, or one each."
        )
    try:
        return [float(item) for item in items]
    except (TypeError, ValueError):
        raise ConfigError(f"--{flag} must be a number, or one a term joined by '+': got {values!r}.") from None


def _load_terms(loss: str | list[Any]) -> tuple[dict[str, Any], str]:
    """Turns ``cwd``, ``cwd+bkd``, a recipe or a list of terms into plain configuration values."""
    if not isinstance(loss, str):
        return {"terms": loss}, "loss"
    recipe = None if loss in losses.names() else find_recipe(loss, "distill")
    if recipe is not None:
        return read_yaml(recipe), str(recipe)
    return {"terms": [{"loss": name.strip()} for name in loss.split("+")]}, f"loss={loss}"


def resolve_distill(
    teacher: str, loss: str | list[Any] = DEFAULT_LOSS, *, trust_weights: bool = False, **flags: Any
) -> DistillConfig:
    """Builds the configuration from what a user typed.

    Args:
        teacher: path of the teacher's weights.
        loss: a loss name, several joined by ``+``, a recipe (name in ``cfg/distill`` or path), or a list of terms.
        trust_weights: see :class:`DistillConfig`.
        **flags: ``weight``, ``tau`` (one number, or one a term), ``taps``, ``schedule``, ``stop_at``; None is absent.

    Raises:
        ConfigError: every problem found.
    """
    flags = {key: value for key, value in flags.items() if value is not None}
    values, where = _load_terms(loss)
    if not isinstance(values.get("terms"), list) or not all(isinstance(t, dict) for t in values["terms"]):
        raise ConfigError(f"{where}: 'terms' must be a list of 'loss: name' entries.")
    for key in ("teacher", "trust_weights"):
        if key in values:
            raise ConfigError(f"{where}: '{key}' is not part of a recipe: say it with --{key.replace('_', '-')}.")
    values = {**values, "terms": [dict(term) for term in values["terms"]]}
    _apply_term_flags(values["terms"], flags)
    _apply_schedule_flags(values, flags)
    if flags:
        raise ConfigError(f"unknown distillation key(s): {', '.join(flags)}.")
    return DistillConfig.parse({**values, "teacher": str(teacher), "trust_weights": trust_weights}, where)


def _apply_term_flags(terms: list[dict[str, Any]], flags: dict[str, Any]) -> None:
    """Moves ``weight``, ``tau`` and ``taps`` from the flags into the terms that they mean something to."""
    if any(term.get("loss") not in losses.names() for term in terms):
        for flag in ("weight", "tau", "taps"):
            flags.pop(flag, None)  # who takes them is not known; the unknown loss is reported when it is parsed
        return
    names = ", ".join(term["loss"] for term in terms)
    if "weight" in flags:
        for term, weight in zip(terms, per_term(flags.pop("weight"), len(terms), "weight"), strict=True):
            term["weight"] = weight
    if "tau" in flags:
        takers = [term for term in terms if "tau" in losses.parameters(term["loss"])]
        if not takers:
            raise ConfigError(f"--tau: none of {names} has a temperature.")
        for term, tau in zip(takers, per_term(flags.pop("tau"), len(takers), "tau"), strict=True):
            params = term.get("params") or {}
            term["params"] = {**params, "tau": tau} if isinstance(params, dict) else params
    if "taps" in flags:
        features = [term for term in terms if losses.get(term["loss"]).kind == "feature"]
        if not features:
            raise ConfigError(f"--taps: only feature losses have taps, and there is none among {names}.")
        taps = flags.pop("taps")
        for term in features:
            term["taps"] = taps


def _apply_schedule_flags(values: dict[str, Any], flags: dict[str, Any]) -> None:
    """Moves ``schedule`` and ``stop_at`` from the flags into the run's schedule."""
    names = {"schedule": "kind", "stop_at": "stop_at"}
    given = {names[flag]: flags.pop(flag) for flag in names if flag in flags}
    if given and all(term.get("schedule") for term in values["terms"]):
        raise ConfigError(f"--schedule, --stop-at ({given}): every term has a schedule of its own; change it there.")
    schedule = values.get("schedule") or {}
    if isinstance(schedule, dict):
        values["schedule"] = {**schedule, **given}
