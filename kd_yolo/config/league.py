"""What takes part in a league: recipes and seeds, as they are typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.config.base import MAX_SEED, StrictModel, find_recipe
from kd_yolo.config.distill import DEFAULT_LOSS, resolve_distill
from kd_yolo.config.term import parse_taps
from kd_yolo.losses import losses

NONE, SHIPPED, TEACHER = "none", "shipped", "teacher"
FORM = "name=loss:key=value,key=value"
NOT_OF_A_RECIPE = ("teacher", "trust_weights")


class Recipe(StrictModel):
    """One row of the league.

    Attributes:
        name: of the row and of its files.
        loss: as ``--loss`` takes it; empty for the two rows that are always there: ``none``, and ``shipped``, the
            distillation of ultralytics.
        flags: as :func:`kd_yolo.config.distill.resolve_distill` takes them.
    """

    name: str
    loss: str = ""
    flags: dict[str, Any] = Field(default_factory=dict)

    def resolved(self) -> dict[str, Any]:
        """Everything that decides what it does, as plain values without paths of this machine.

        Raises:
            ConfigError: a loss or a key that is not known, or a value that does not fit.
        """
        if not self.loss:
            return {"loss": self.name}
        config = resolve_distill(TEACHER, self.loss, **self.flags)
        if self.loss == DEFAULT_LOSS:  # the networks decide: what was chosen is in the run.json of each run
            return {"loss": self.loss, **{key: _portable(value) for key, value in self.flags.items()}}
        values = config.model_dump(mode="json", exclude_none=True)
        return {key: _portable(value) for key, value in values.items() if key not in NOT_OF_A_RECIPE}

    def flag_words(self) -> dict[str, str]:
        """The flags as they are typed."""
        return {key: ",".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in self.flags.items()}

    def __str__(self) -> str:
        """What it does, as it is typed, without the folders of files."""
        if not self.loss:
            return self.name
        flags = ",".join(f"{key}={_portable(value)}" for key, value in self.flag_words().items())
        return f"{_portable(self.loss)}{':' if flags else ''}{flags}"


ALWAYS = (Recipe(name=NONE), Recipe(name=SHIPPED))


def parse_recipes(texts: Iterable[str]) -> tuple[Recipe, ...]:
    """Reads recipes; ``none`` and ``shipped`` are always the first two.

    Args:
        texts: each ``loss``, ``name=loss``, ``name=loss:key=value,...``, or a recipe of ``cfg/distill`` by its name or
            path in the place of the loss.

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
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(found.values())


def parse_recipe(text: str) -> Recipe:
    """Reads one recipe; its loss is not looked up.

    Raises:
        ConfigError: not of that form.
    """
    head, colon, tail = text.partition(":")
    name, equals, loss = head.partition("=")
    if text in (NONE, SHIPPED):
        return Recipe(name=text)
    if not equals:
        loss, name = head, _name_of(head)
        if colon:
            raise ConfigError(f"keys need a name for the row: {name}2={text}")
    if name in (NONE, SHIPPED, TEACHER):
        raise ConfigError(f"'{name}' is a row of its own: choose another name ({FORM}).")
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,100}", name) or name.startswith((".", "-")):
        raise ConfigError(f"'{shown(name)[1:-1]}' cannot be the name of a file: letters, digits and _ . + - can.")
    if not loss:
        raise ConfigError(f"no loss, expected {FORM}. Known: {', '.join(losses.names())}.")
    return Recipe(name=name, loss=loss, flags=_flags(tail) if colon else {})


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
    wrong = [key for key in found if key in (*NOT_OF_A_RECIPE, "loss")]
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


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0,1,2"``.

    Raises:
        ConfigError: anything else than different whole numbers from 0 to 2**32 - 1.
    """
    pieces = [piece.strip() for piece in text.split(",")]
    are_numbers = all(re.fullmatch(r"[0-9]{1,10}", piece) for piece in pieces)
    seeds = tuple(int(piece) for piece in pieces) if are_numbers else ()
    if not seeds or len(set(seeds)) < len(seeds) or max(seeds) > MAX_SEED:
        raise ConfigError(
            f"--seeds is {shown(text)}, expected different whole numbers such as 0,1,2, none above {MAX_SEED}."
        )
    return seeds
