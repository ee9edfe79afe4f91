"""What takes part in a league: recipes and seeds, as they are typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.config.base import MAX_SEED, StrictModel, find_recipe
from kd_yolo.config.distill import DEFAULT_LOSS, resolve_distill
from kd_yolo.config.rows import AT_COST, MEASURED, NONE, SHIPPED, TEACHER
from kd_yolo.config.term import parse_taps
from kd_yolo.losses import losses

NAME = r"[A-Za-z0-9_.+-]{1,100}"
FORM = "name=loss:key=value,key=value"
NOT_OF_A_RECIPE = ("teacher", "trust_weights", "teacher_val", "teacher_cache_dir", "teacher_cache_gb")
TRAINING_KEYS = (
    "epochs", "batch", "nbs", "optimizer", "lr0", "lrf", "cos_lr", "momentum", "weight_decay", "warmup_epochs", "dis",
)  # fmt: skip
"""Ultralytics arguments that an arm may have of its own: what a budget for tuning is spent on."""
Control = Literal["random", "student"]
"""Teachers that should have nothing to teach: untrained weights; the student, fine-tuned as the teacher is."""


class Recipe(StrictModel):
    """One row of the league.

    Attributes:
        name: of the row and of its files.
        loss: as ``--loss`` takes it, ``none``, or ``shipped``, the distillation of ultralytics; empty for the two rows
            of these names.
        flags: as :func:`kd_yolo.config.distill.resolve_distill` takes them.
        train: ultralytics arguments of this row alone, as typed; keys are of :data:`TRAINING_KEYS`.
        cost: of a row ``none@...``: how many times as long it trains as ``none``, a number; ``cost`` for as long as
            the dearest distilled row takes, or the name of the row that is meant.
        control: a teacher of its own.
    """

    name: str
    loss: str = ""
    flags: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, str] = Field(default_factory=dict)
    cost: str = ""
    control: Control | None = None

    @property
    def kind(self) -> Literal["plain", "shipped", "distill"]:
        """Without a teacher, by ultralytics' own distillation, or by ours (``cfg/distill/shipped`` is ours)."""
        if self.cost or (self.loss or self.name) == NONE:
            return "plain"
        return "shipped" if not self.loss or (self.loss == SHIPPED and "dis" in self.train) else "distill"

    def resolved(self) -> dict[str, Any]:
        """Everything that decides what it does, as plain values without paths of this machine.

        Raises:
            ConfigError: a loss or a key that is not known, or a value that does not fit.
        """
        own = {key: getattr(self, key) for key in ("train", "cost", "control") if getattr(self, key)}
        if self.kind != "distill":
            return {"loss": NONE if self.kind == "plain" else SHIPPED, **own}
        config = resolve_distill(TEACHER, self.loss, **self.flags)
        if self.loss == DEFAULT_LOSS:  # the networks decide: what was chosen is in the run.json of each run
            return {"loss": self.loss, **{key: _portable(value) for key, value in self.flags.items()}, **own}
        values = config.model_dump(mode="json", exclude_none=True)
        return {key: _portable(value) for key, value in values.items() if key not in NOT_OF_A_RECIPE} | own

    def flag_words(self) -> dict[str, str]:
        """The flags as they are typed."""
        return {key: ",".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in self.flags.items()}

    def __str__(self) -> str:
        """What it does, as it is typed, without the folders of files."""
        if not self.loss:
            return self.name
        words = {**self.flag_words(), **self.train, **({TEACHER: self.control} if self.control else {})}
        flags = ",".join(f"{key}={_portable(value)}" for key, value in words.items())
        return f"{_portable(self.loss)}{':' if flags else ''}{flags}"


ALWAYS = (Recipe(name=NONE), Recipe(name=SHIPPED))


def parse_recipes(texts: Iterable[str]) -> tuple[Recipe, ...]:
    """Reads recipes; ``none`` and ``shipped`` are always the first two.

    Args:
        texts: each ``loss``, ``name=loss``, ``name=loss:key=value,...``, or a recipe of ``cfg/distill`` by its name or
            path in the place of the loss; the loss may be ``none`` or ``shipped``, and ``none@1.8`` is a row too.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    found: dict[str, Recipe] = {recipe.name: recipe for recipe in ALWAYS}
    problems = []
    for text in texts:
        try:
            recipe = parse_recipe(text)
            if found.setdefault(recipe.name, recipe) != recipe:
                raise ConfigError(f"another one has the name '{recipe.name}' already: {found[recipe.name]}.")
            recipe.resolved()
        except ConfigError as error:
            problems.append(f"recipe '{text}': {error}")
    problems += [
        f"recipe '{row.name}': no distilled row '{row.cost}', expected none@cost, none@1.8 or none@ROW."
        for row in found.values()
        if row.cost and not _is_ratio(row.cost) and not _is_dear(row.cost, found)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(found.values())


def _is_dear(name: str, rows: dict[str, Recipe]) -> bool:
    """Whether a row at equal cost has something to be as dear as."""
    return any(row.kind == "distill" and name in (MEASURED, row.name) for row in rows.values())


def _is_ratio(text: str) -> bool:
    """Whether it is a number of plain trainings, from 1 to 1000."""
    return bool(re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,4})?", text)) and float(text) >= 1


def parse_recipe(text: str) -> Recipe:
    """Reads one recipe; its loss is not looked up.

    Raises:
        ConfigError: not of that form.
    """
    head, colon, tail = text.partition(":")
    name, equals, loss = head.partition("=")
    if text in (NONE, SHIPPED):
        return Recipe(name=text)
    if text.startswith(AT_COST):
        return _at_cost(text)
    if not equals:
        loss, name = head, _name_of(head)
        if colon:
            raise ConfigError(f"keys need a name for the row: {name}2={text}")
    if name in (NONE, SHIPPED, TEACHER):
        raise ConfigError(f"'{name}' is a row of its own: choose another name ({FORM}).")
    if not re.fullmatch(NAME, name) or name.startswith((".", "-")):
        raise ConfigError(f"'{shown(name)[1:-1]}' cannot be the name of a file: letters, digits and _ . + - can.")
    if not loss:
        raise ConfigError(f"no loss, expected {FORM}. Known: {', '.join(losses.names())}.")
    return _with_keys(name, loss, _flags(tail) if colon else {})


def _at_cost(text: str) -> Recipe:
    cost = text.removeprefix(AT_COST)
    if not _is_ratio(cost) and not re.fullmatch(NAME, cost):
        raise ConfigError(f"{shown(text)} says no cost, expected none@cost, none@1.8 or none@ROW.")
    return Recipe(name=text, cost=cost)


def _with_keys(name: str, loss: str, flags: dict[str, Any]) -> Recipe:
    """Sorts keys into those of the distillation, those of ultralytics, and the teacher of a control."""
    train = {key: flags.pop(key) for key in list(flags) if key in TRAINING_KEYS}
    control = flags.pop(TEACHER, None)
    if control is not None and control not in get_args(Control):
        raise ConfigError(
            f"'{TEACHER}=' is the same for all: it is not part of a recipe, but for the controls"
            f" {TEACHER}=random (untrained weights) and {TEACHER}=student (the student, fine-tuned as a teacher)."
        )
    recipe = Recipe(name=name, loss=loss, flags=flags, train=train, control=control)
    if recipe.kind != "distill" and (flags or control):
        raise ConfigError(f"'{[*flags, TEACHER][0]}=' is nothing to {loss}, expected {', '.join(TRAINING_KEYS)}.")
    if loss == NONE and not train:
        raise ConfigError(f"it is {NONE} under another name: give it a key, such as {name}={NONE}:lr0=0.002.")
    if recipe.kind != "shipped" and "dis" in train:
        raise ConfigError(f"'dis=' weighs ultralytics' own distillation: {name}={SHIPPED}:dis={train['dis']}.")
    return recipe


def _name_of(loss: str) -> str:
    """The loss itself; of a YAML its name without folder and ending."""
    is_file = loss.endswith((".yaml", ".yml")) and find_recipe(loss, "distill") is not None
    return Path(loss).stem if is_file else loss


def _flags(text: str) -> dict[str, Any]:
    """``"weight=4,taps=15,18,21"``: a piece without ``=`` belongs to the value before it."""
    found: dict[str, Any] = {}
    for piece in text.split(","):
        key, equals, value = piece.partition("=")
        if equals and value:
            found[key.replace("-", "_")] = value
        elif found and piece:
            found[list(found)[-1]] += f",{piece}"
        else:
            raise ConfigError(f"'{piece}' is no key=value ({FORM}).")
    wrong = [key for key in found if key in ("trust_weights", "loss")]
    if wrong:
        raise ConfigError(f"'{wrong[0]}=' is the same for all: it is not part of a recipe.")
    if "taps" in found:
        found["taps"] = parse_taps(found["taps"])
    return found


def _portable(value: Any) -> Any:
    """Plain values with the last part of every absolute path in place of the path."""
    if isinstance(value, dict):
        return {key: _portable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_portable(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def parse_seeds(text: str, flag: str = "--seeds") -> tuple[int, ...]:
    """``"0,1,2"``.

    Raises:
        ConfigError: anything else than different whole numbers from 0 to 2**32 - 1.
    """
    pieces = [piece.strip() for piece in text.split(",")]
    are_numbers = all(re.fullmatch(r"[0-9]{1,10}", piece) for piece in pieces)
    seeds = tuple(int(piece) for piece in pieces) if are_numbers else ()
    if not seeds or len(set(seeds)) < len(seeds) or max(seeds) > MAX_SEED:
        raise ConfigError(
            f"{flag} is {shown(text)}, expected different whole numbers such as 0,1,2, none above {MAX_SEED}."
        )
    return seeds
