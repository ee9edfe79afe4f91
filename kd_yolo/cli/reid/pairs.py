"""``key=value`` words of ``kd-yolo reid``: settings of its model, read as YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import parse_yaml, shown

if TYPE_CHECKING:
    from kd_yolo.reid.settings import ReIDConfig

PATHS = {"data", "pretrained", "network.pretrained"}  # taken as they are typed


def parse_pairs(pairs: list[str]) -> dict[str, Any]:
    """``key=value`` words."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        if not text:
            raise ConfigError(f"'{key}=' has no value.")
        if key in found:
            raise ConfigError(f"'{key}=' is given twice: {shown(found[key])} and {shown(text)}.")
        found[key] = text if key in PATHS else _value(key, text)
    return found


def _value(key: str, text: str) -> Any:
    """A value as YAML reads it; a number such as 1e-3, which YAML does not; words between commas."""
    try:
        value = parse_yaml(text, f"the value of {shown(key)}", settings=True)
    except InputError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value.split(",") if "," in value else value


def refuse_pairs(pairs: list[str]) -> None:
    """Raises a ConfigError where there are any, for a command that takes none."""
    if pairs:
        raise ConfigError(f"{', '.join(pairs)}: not taken here, see --help.")


def with_data(config: ReIDConfig) -> ReIDConfig:
    """The built-in set where none was given."""
    if config.data is not None:
        return config
    from kd_yolo.base.places import project_folder
    from kd_yolo.builtin.crops_set import make_crops

    folder = make_crops(project_folder("datasets") / "reid-demo", "demo").folder
    print(f"warning: no data=: the built-in crops, {folder} (--recipe demo fits them)")
    return config.model_copy(update={"data": str(folder)})
