"""Configuration of a distillation run: the terms, their weights and taps, and the schedule."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kd_yolo.config.base import StrictModel, find_recipe, read_yaml
from kd_yolo.errors import ConfigError
from kd_yolo.geometry.schedule import Schedule, ScheduleKind
from kd_yolo.losses import losses
from kd_yolo.registry import nearest

Taps = Literal["head", "cv2"] | list[int]

DEFAULT_LOSS = "cwd+bkd"

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
        stop_at: progress in (0, 1] from which on the term is off, ``"mosaic"`` (when mosaic closes), or None.
    """

    kind: ScheduleKind = "cosine"
    end: float = Field(0.1, ge=0, le=1)
    stop_at: float | Literal["mosaic"] | None = None

    @field_validator("stop_at")
    @classmethod
    def _share(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and not 0 < value <= 1:
            raise ValueError(f"stop_at={value} must lie in (0, 1], or be 'mosaic'")
        return value

    def build(self, epochs: int, close_mosaic: int) -> Schedule:
        """The schedule of a run of ``epochs`` epochs whose last ``close_mosaic`` epochs have no mosaic."""
        stop_at = self.stop_at
        if stop_at == "mosaic":
            stop_at = max(1 - close_mosaic / epochs, 0.0) if close_mosaic else None
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
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    params: dict[str, Any] = {}
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
        return {**kind_defaults, **TERM_DEFAULTS.get(values["loss"], {}), **values}

    @model_validator(mode="after")
    def _check_loss(self) -> TermConfig:
        known = losses.names()
        if self.loss not in known:
            raise ValueError(f"unknown loss '{self.loss}'.{nearest(self.loss, known)} Known: {', '.join(known)}.")
        parameters = losses.parameters(self.loss)
        for key in self.params:
            if key not in parameters:
                raise ValueError(
                    f"loss '{self.loss}' has no parameter '{key}'.{nearest(key, parameters)}"
                    f" It takes: {', '.join(parameters) or 'none'}."
                )
        foreign = ("gate",) if self.kind == "feature" else ("taps", "adapter", "standardize")
        for key in foreign:
            if getattr(self, key) is not None:
                raise ValueError(f"'{key}' has no meaning for the {self.kind} loss '{self.loss}'")
        return self

    @property
    def kind(self) -> str:
        """``"feature"`` or ``"response"``."""
        return losses.get(self.loss).kind


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


def per_term(values: Any, count: int, flag: str) -> list[Any]:
    """Spreads one value over all terms, or takes one value a term from ``"1+0.5"`` or a list.

    Raises:
        ConfigError: as many values as terms are needed, or a value is not a number.
    """
    if isinstance(values, str):
        values = values.split("+")
    items = list(values) if isinstance(values, (list, tuple)) else [values]
    if len(items) == 1:
        items = items * count
    if len(items) != count:
        raise ConfigError(f"--{flag} has {len(items)} values for {count} loss terms: give one, or one a term.")
    try:
        return [float(item) for item in items]
    except (TypeError, ValueError):
        raise ConfigError(f"--{flag} must be a number, or one a term joined by '+': got {values!r}.") from None


def _terms_from_names(text: str) -> list[dict[str, Any]]:
    known = losses.names()
    terms = []
    for name in text.split("+"):
        if name not in known:
            raise ConfigError(f"unknown loss '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
        terms.append({"loss": name})
    return terms


def _load_terms(loss: str | list[Any]) -> tuple[dict[str, Any], str]:
    """Turns ``cwd``, ``cwd+bkd``, a recipe or a list of terms into plain configuration values."""
    if not isinstance(loss, str):
        return {"terms": loss}, "loss"
    recipe = None if loss in losses.names() else find_recipe(loss, "distill")
    if recipe is not None:
        return read_yaml(recipe), str(recipe)
    return {"terms": _terms_from_names(loss)}, f"loss={loss}"


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
    terms = [dict(term) for term in values["terms"]]
    _apply_term_flags(terms, flags)
    schedule = dict(values.get("schedule") or {})
    schedule |= {"kind": flags.pop("schedule")} if "schedule" in flags else {}
    schedule |= {"stop_at": flags.pop("stop_at")} if "stop_at" in flags else {}
    if flags:
        raise ConfigError(f"unknown distillation key(s): {', '.join(flags)}.")
    values = {**values, "terms": terms, "schedule": schedule, "teacher": str(teacher), "trust_weights": trust_weights}
    return DistillConfig.parse(values, where)


def _apply_term_flags(terms: list[dict[str, Any]], flags: dict[str, Any]) -> None:
    """Moves ``weight``, ``tau`` and ``taps`` from the flags into the terms."""
    if "weight" in flags:
        for term, weight in zip(terms, per_term(flags.pop("weight"), len(terms), "weight"), strict=True):
            term["weight"] = weight
    if "tau" in flags:
        taus = per_term(flags.pop("tau"), len(terms), "tau")
        takers = [t for t in terms if "tau" in losses.parameters(t["loss"])]
        if not takers:
            raise ConfigError(f"--tau: none of {', '.join(t['loss'] for t in terms)} has a temperature.")
        for term, tau in zip(terms, taus, strict=True):
            if term in takers:
                term["params"] = {**term.get("params", {}), "tau": tau}
    if "taps" in flags:
        taps = flags.pop("taps")
        features = [t for t in terms if losses.get(t["loss"]).kind == "feature"]
        if not features:
            raise ConfigError("--taps: only feature losses have taps, and there is none.")
        for term in features:
            term["taps"] = taps
