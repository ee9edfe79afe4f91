"""What every configuration model shares: strict keys, YAML reading, and errors a user can act on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from kd_yolo.base.device import parse_device
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.places import shipped_folder
from kd_yolo.base.reading import read_yaml_value, shown
from kd_yolo.base.registry import nearest

M = TypeVar("M", bound="StrictModel")
MAX_COUNT = 1_000_000  # rounds, images, epochs: beyond it is a typing error
MAX_SEED = 2**32 - 1  # NumPy's
MAX_SIDE = 8192  # pixels
RECIPES = shipped_folder("cfg")


def _device_name(value: Any) -> Any:
    """One device by its name, whether it is there or not; what is no text or number is left to the type."""
    try:
        return parse_device(value) if isinstance(value, str | int) else value
    except ConfigError as error:
        raise ValueError(str(error)) from None


Device = Annotated[str | None, BeforeValidator(_device_name)]
"""One device as a user names it (``cpu``, ``cuda:1``, 0), or None for any."""


class StrictModel(BaseModel):
    """A model that refuses keys it does not know and values of the wrong type.

    The docstring below a field is the help of its flag (:mod:`kd_yolo.cli.flags`) and of its ``key=value``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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
            lines = (f"  {line}" for line in describe_problems(error, known=_keys(cls)))
            raise ConfigError("\n".join([f"{where}: {len(error.errors())} problem(s)", *lines])) from None


class TrustWeights(StrictModel):
    """Base of the settings of whatever loads a checkpoint."""

    trust_weights: bool = False
    """Load checkpoints that name classes outside the allow-list: runs the code they hold."""


def describe_problems(error: ValidationError, name: str = "", known: Iterable[str] = ()) -> Iterator[str]:
    """A line for each problem.

    Args:
        error: what pydantic found.
        name: of the one field that was read; without, each problem has the path of its own.
        known: keys that a misspelt one may mean.
    """
    for problem in error.errors():
        path = name or ".".join(str(part)[:100] for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            yield f"unknown key '{path}'.{nearest(str(problem['loc'][-1])[:100], known)}"
        elif message.startswith("is "):
            yield f"{path} {message}"
        else:
            yield f"{path + ': ' if path else ''}{message}" + _value(problem)


def _value(problem: Any) -> str:
    return "" if problem["type"] in {"missing", "value_error"} else f" (got {shown(problem['input'])})"


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
    """Reads a YAML mapping of settings.

    Raises:
        ConfigError: the file is missing or not a regular one, is too large or too deep, no YAML, or holds no mapping.
    """
    if not is_file(path):
        raise ConfigError(f"{shown(str(path), 300)[1:-1]}: no such file.")
    try:
        values = read_yaml_value(path, "file", settings=True)
    except InputError as error:  # what was typed behind a flag: usage, not data
        raise ConfigError(str(error)) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines, found {type(values).__name__}.")
    return {str(key): value for key, value in values.items()}


def is_file(path: Path) -> bool:
    """Whether there is such a regular file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # 300 characters, or a NUL
        return False


def find_recipe(name: str, kind: str) -> Path | None:
    """The recipe file that ``name`` means: a path to a YAML, or the name of a file in ``cfg/<kind>/``.

    Returns:
        The path, or None when ``name`` is neither.
    """
    if name.endswith((".yaml", ".yml")):
        return next((p for p in (Path(name), RECIPES / kind / name) if is_file(p)), Path(name))
    path = RECIPES / kind / f"{name}.yaml"
    return path if is_file(path) else None


def recipes(kind: str) -> dict[str, str]:
    """The recipes in ``cfg/<kind>/`` by name, each with its second comment line, which says what it is for."""
    files = sorted((RECIPES / kind).glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8").splitlines()[1].lstrip("# ") for file in files}


def recipe_path(name: str, kind: str, *, what: str) -> Path:
    """As :func:`find_recipe`, but a name must be that of a recipe.

    Args:
        name: a name or a path.
        kind: the folder in ``cfg/``.
        what: the recipes' name in the error message.

    Raises:
        ConfigError: no such recipe; says which there are.
    """
    path = find_recipe(name, kind)
    if path is None:
        known = sorted(file.stem for file in (RECIPES / kind).glob("*.yaml"))
        near = nearest(name[:100], known)
        raise ConfigError(f"no {what} recipe {shown(name, 300)}.{near} Known: {', '.join(known)}, or a path.yaml.")
    return path
