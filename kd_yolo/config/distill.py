"""Configuration of a distillation run: the teachers, the terms, the schedule, and unlabelled images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.config.base import TrustWeights, find_recipe, read_yaml
from kd_yolo.config.options import DEFAULTS, TeacherRuntime
from kd_yolo.config.term import AUTO, ScheduleConfig, TermConfig
from kd_yolo.losses import losses

DEFAULT_LOSS = "auto"  # terms that fit networks and data: kd_yolo.distill.auto
AUTO_RECIPE: dict[str, Any] = {  # what it is where nothing stands in the way; for checks before the networks are known
    "terms": [
        {"loss": "bkd", "weight": 2.0, "gate": "balanced"},
        {"loss": "dfl_kl", "weight": 4.0, "gate": "balanced"},
    ],
    "schedule": {"kind": "constant"},
}
EMA_TEACHER = "ema"  # the student's own moving average teaches
MAX_VIEWS, MAX_EVERY = 10_000, 10_000
UNLABELLED_SUFFIX = "_unlabelled"  # of a term's column for images without labels


class DistillConfig(TrustWeights):
    """Everything that distillation adds to an ultralytics training run."""

    teacher: str | list[str] = Field(min_length=1)
    """Path of the teacher's weights, ``"ema"`` for the student's own moving average, or a list of these."""
    terms: list[TermConfig] = Field(min_length=1)
    """What is distilled; their weighted sum is added to the detection loss."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Weight over the run, for every term without one of its own."""
    unlabelled: str | None = Field(default=None, min_length=1)
    """Images without labels that join through the terms: a folder, glob, text list or video."""
    unlabelled_ratio: float = Field(default=DEFAULTS.unlabelled_ratio, gt=0, allow_inf_nan=False)
    """How many of them join a batch, as a share of its labelled images."""
    teacher_cache: int | None = Field(default=None, ge=1, le=MAX_VIEWS)
    """Fixed views of each image, whose responses are kept on disk; None is a live teacher on fresh views."""
    teacher_cache_dir: str | None = Field(default=None, min_length=1)
    """The folder of these responses; ``{hash}`` in it stands for what they belong to."""
    teacher_cache_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The most that they may take on disk, in GB (1e9 bytes)."""
    teacher_every: int | None = Field(default=None, ge=1, le=MAX_EVERY)
    """The teacher runs in every N-th step, where the terms count N times; None is in every step."""
    teacher_half: bool | None = None
    """Whether the teacher runs in bfloat16."""
    teacher_runtime: TeacherRuntime | None = None
    """Where the teacher runs; ``auto`` is OpenVINO where that says what torch says; None is torch."""
    teacher_val: bool = DEFAULTS.teacher_val
    """Whether the teacher is measured on val before the first epoch."""
    chosen: str | None = Field(default=None, max_length=1000)
    """What ``--loss auto`` chose, and why; None where the terms were named."""

    @model_validator(mode="after")
    def _check_together(self) -> DistillConfig:
        count = len(self.teachers)
        if self.teachers.count(EMA_TEACHER) > 1:
            raise ValueError(f"teacher={EMA_TEACHER} is named twice: a run has one moving average.")
        self._check_repeated()
        for term in self.terms:
            if term.teacher is not None and term.teacher > count:
                raise ValueError(f"term {term.loss}: teacher={term.teacher}, but there are {count} teacher(s).")
            if self.unlabelled and (term.gate == "assigned" or "boxes_xyxy" in losses.get(term.loss).context):
                what = "gate=assigned" if term.gate == "assigned" else f"loss '{term.loss}'"
                raise ValueError(f"{what} looks at labels, which unlabelled images lack: choose another.")
        if self.teacher_cache is not None:
            self._check_cache()
        return self

    def _check_cache(self) -> None:
        """Only responses at the anchors that the teacher is confident of are kept."""
        if EMA_TEACHER in self.teachers:
            raise ValueError("teacher=ema changes in every step: nothing of it can be kept, leave teacher_cache out.")
        if self.unlabelled:
            raise ValueError("teacher_cache knows the views of labelled images only: leave it or unlabelled out.")
        for term in self.terms:
            if getattr(losses.get(term.loss), "reads", "raw") == "raw":
                raise ValueError(
                    f"the loss {term.loss} compares features, which need the live teacher: teacher_cache keeps"
                    " responses only. Leave it out, or choose from bkd, kl, dfl_kl, box_iou, obj_gated."
                )
            if term.gate in ("all", "assigned"):
                raise ValueError(
                    f"gate={term.gate} counts anchors at which the teacher sees nothing: teacher_cache keeps the others"
                    " only. Leave it out, or take gate=confidence or gate=balanced."
                )

    def _check_repeated(self) -> None:
        """Terms that are equal but for their weight are one term with the sum of the weights."""
        seen: list[dict[str, Any]] = []
        for term in self.terms:
            settings = term.model_dump(exclude={"weight", "share"})
            if settings in seen:
                raise ValueError(
                    f"the loss {term.loss} is named twice with the same settings: name it once, its weight is a factor"
                    " (--weight 2)."
                )
            seen.append(settings)

    @property
    def teachers(self) -> list[str]:
        """All teachers, in order."""
        return [self.teacher] if isinstance(self.teacher, str) else self.teacher

    def term_names(self) -> list[str]:
        """Column name of every term: ``kd_cwd``, and ``kd_cwd2`` for a second one of the same loss."""
        seen: dict[str, int] = {}
        names = []
        for term in self.terms:
            seen[term.loss] = seen.get(term.loss, 0) + 1
            names.append(f"kd_{term.loss}{seen[term.loss] if seen[term.loss] > 1 else ''}")
        return names

    def columns(self) -> list[str]:
        """Names of all loss items that the terms add: with unlabelled images two a term."""
        names = self.term_names()
        return names + [f"{name}{UNLABELLED_SUFFIX}" for name in names] if self.unlabelled else names


def per_term(values: Any, count: int, flag: str) -> list[Any]:
    """Spreads one value over all terms, or takes one value a term from ``"1+0.5"`` or a list.

    Returns:
        Numbers; ``auto:...`` stays text.

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
        return [item if str(item).startswith(AUTO) else float(item) for item in items]
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"--{flag} must be a number, or one a term joined by '+': got {shown('+'.join(map(str, items[:20])))}."
        ) from None


def _load_terms(loss: str | list[Any] | Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Turns ``cwd``, ``cwd+bkd``, a recipe or a list of terms into plain configuration values."""
    if isinstance(loss, Mapping) or loss == DEFAULT_LOSS:
        return dict(AUTO_RECIPE if isinstance(loss, str) else loss), "loss"
    if not isinstance(loss, str):
        return {"terms": loss}, "loss"
    recipe = None if loss in losses else find_recipe(loss, "distill")
    if recipe is not None:
        return read_yaml(recipe), str(recipe)
    return {"terms": [{"loss": name.strip()} for name in loss.split("+")]}, f"loss={loss}"


def resolve_distill(
    teacher: str | list[str],
    loss: str | list[Any] | Mapping[str, Any] = DEFAULT_LOSS,
    *,
    trust_weights: bool = False,
    **flags: Any,
) -> DistillConfig:
    """Builds the configuration from what a user typed.

    Args:
        teacher: path of the teacher's weights, or several, see :class:`DistillConfig`.
        loss: a loss name, several joined by ``+``, a recipe (name in ``cfg/distill``, path, or its content), or a list
            of terms. ``auto`` is :data:`AUTO_RECIPE` here; who knows the networks gives what
            :func:`kd_yolo.distill.auto.choose` makes of them.
        trust_weights: see :class:`DistillConfig`.
        **flags: ``weight``, ``tau`` (one number, or one a term), ``gate``, ``taps``, ``schedule``, ``stop_at``,
            ``unlabelled``, ``unlabelled_ratio``, ``teacher_val``, ``teacher_cache``, ``teacher_cache_dir``,
            ``teacher_cache_gb``, ``teacher_every``, ``teacher_half``, ``teacher_runtime``; None is
            absent.

    Raises:
        ConfigError: every problem found.
    """
    flags = {key: value for key, value in flags.items() if value is not None}
    values, where = _load_terms(loss)
    if not isinstance(values.get("terms"), list) or not all(isinstance(t, dict) for t in values["terms"]):
        raise ConfigError(f"{where}: 'terms' must be a list of 'loss: name' entries.")
    for key in ("teacher", "trust_weights", "unlabelled"):
        if key in values:
            raise ConfigError(f"{where}: '{key}' is not part of a recipe: say it with --{key.replace('_', '-')}.")
    values = {**values, "terms": [dict(term) for term in values["terms"]]}
    _apply_teacher_flags(values, flags)
    changed = [key for key in ("weight", "tau", "gate", "taps", "schedule", "stop_at") if key in flags]
    if values.get("chosen") and changed:
        values["chosen"] += f"; changed by what was said: {', '.join(changed)}"
    _apply_term_flags(values["terms"], flags)
    _apply_schedule_flags(values, flags)
    values |= {key: flags.pop(key) for key in ("unlabelled", "unlabelled_ratio", "teacher_val") if key in flags}
    if values.get("unlabelled"):
        values["unlabelled"] = str(Path(values["unlabelled"]).absolute())  # a resumed run may start in another folder
    if "unlabelled_ratio" in values and not values.get("unlabelled"):
        raise ConfigError("--unlabelled-ratio does nothing without --unlabelled: name the images, or leave it out.")
    if flags:
        raise ConfigError(f"unknown distillation key(s): {', '.join(flags)}.")
    return DistillConfig.parse({**values, "teacher": teacher, "trust_weights": trust_weights}, where)


def _apply_term_flags(terms: list[dict[str, Any]], flags: dict[str, Any]) -> None:
    """Moves ``weight``, ``tau``, ``gate`` and ``taps`` from the flags into the terms that they mean something to."""
    if any(term.get("loss") not in losses for term in terms):
        for flag in ("weight", "tau", "gate", "taps"):
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
    for flag, kind, what in (("taps", "feature", "taps"), ("gate", "response", "a gate")):
        if flag in flags:
            takers = [term for term in terms if losses.get(term["loss"]).kind == kind]
            if not takers:
                raise ConfigError(f"--{flag}: only {kind} losses have {what}, and there is none among {names}.")
            value = flags.pop(flag)
            for term in takers:
                term[flag] = value


def _apply_teacher_flags(values: dict[str, Any], flags: dict[str, Any]) -> None:
    """Moves from the flags what says how, how often and on which views the teacher runs."""
    place = ("teacher_cache_dir", "teacher_cache_gb")
    keys = ("teacher_cache", "teacher_every", "teacher_half", "teacher_runtime", *place)
    values |= {key: flags.pop(key) for key in keys if key in flags}
    if values.get("teacher_cache") is not None:
        folder = values.get("teacher_cache_dir") or DEFAULTS.teacher_cache_dir
        values["teacher_cache_dir"] = str(Path(folder).absolute())  # a resumed run may start in another folder
        values.setdefault("teacher_cache_gb", DEFAULTS.teacher_cache_gb)
        return
    for key in place:
        if key in values:
            raise ConfigError(f"--{key.replace('_', '-')} does nothing without --teacher-cache: say how many views.")


def _apply_schedule_flags(values: dict[str, Any], flags: dict[str, Any]) -> None:
    """Moves ``schedule`` and ``stop_at`` from the flags into the run's schedule."""
    names = {"schedule": "kind", "stop_at": "stop_at"}
    given = {names[flag]: flags.pop(flag) for flag in names if flag in flags}
    if given and all(term.get("schedule") for term in values["terms"]):
        raise ConfigError(f"--schedule, --stop-at ({given}): every term has a schedule of its own; change it there.")
    schedule = values.get("schedule") or {}
    if isinstance(schedule, dict):
        values["schedule"] = {**schedule, **given}
