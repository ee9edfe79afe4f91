"""What every configuration model shares: strict keys, YAML reading, and errors a user can act on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kd_yolo.errors import ConfigError
from kd_yolo.registry import nearest

M = TypeVar("M", bound="StrictModel")
RECIPES = Path(__file__).resolve().parents[2] / "cfg"


class StrictModel(BaseModel):
    """A model that refuses keys it does not know and values of the wrong type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls: type[M], values: dict[str, Any], where: str) -> M:
        """Validates ``values``.

        Args:
            values: plain keys and values.
            where: what the user wrote them in, for the error message (``"cfg/distill/cwd.yaml"``).

        Raises:
            ConfigError: every problem found, one a line.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("\n".join([f"{where}: {len(error.errors())} problem(s)", *_lines(error, cls)])) from None


def _lines(error: ValidationError, cls: type[BaseModel]) -> Iterable[str]:
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"  unknown key '{path}'.{nearest(str(problem['loc'][-1]), _keys(cls))}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"  {path + ': ' if path else ''}{message}" + _value(problem)


def _value(problem: Any) -> str:
    return "" if problem["type"] in {"missing", "value_error"} else f" (got {problem['input']!r})"


def _keys(cls: type[BaseModel]) -> list[str]:
    """Field names of a model and of the models inside it."""
    keys: list[str] = []
    for name, field in cls.model_fields.items():
        keys.append(name)
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys.extend(_keys(inner))
    return keys


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not hold a mapping.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, found {type(values).__name__}.")
    return values


def find_recipe(name: str, kind: str) -> Path | None:
    """The recipe file that ``name`` means: a path to a YAML, or the name of a file in ``cfg/<kind>/``.

    Returns:
        The path, or None when ``name`` is neither.
    """
    if name.endswith((".yaml", ".yml")):
        return next((p for p in (Path(name), RECIPES / kind / name) if p.is_file()), Path(name))
    path = RECIPES / kind / f"{name}.yaml"
    return path if path.is_file() else None
