"""From a recipe and what was typed to the settings of a ReID run; the one place that reads ``cfg/reid``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.config.base import read_yaml, recipe_path
from kd_yolo.reid.model.settings import NetworkSettings
from kd_yolo.reid.rules import useless_settings
from kd_yolo.reid.settings import ReIDConfig

SECTIONS = {
    name: field.annotation
    for name, field in ReIDConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
WITHOUT_SECTION = set(ReIDConfig.model_fields) - set(SECTIONS)


def resolve_reid(recipe: str | None, changes: dict[str, Any]) -> ReIDConfig:
    """A recipe of ``cfg/reid`` with ``key=value`` changes.

    Args:
        recipe: its name, the path of a YAML, or None for the defaults.
        changes: by ``section.key``, or by the key alone where one section only has it.

    Raises:
        ConfigError: everything that is wrong with them, settings that would do nothing included.
    """
    values: dict[str, Any] = {}
    if recipe is not None:
        values = read_yaml(recipe_path(recipe, "reid", what="ReID"))
    for key, value in changes.items():
        section, name = place_of(key)
        target = values if section is None else values.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{recipe}: section '{section}' must hold 'key: value' lines.")
        target[name] = value
    config = ReIDConfig.parse(values, recipe or "reid settings")
    _check_backbone(config.network.backbone)
    useless = list(useless_settings(config))
    if useless:
        raise ConfigError("\n  ".join([f"{recipe or 'reid settings'}: {len(useless)} problem(s)", *useless]))
    return config


def _check_backbone(name: str) -> None:
    if name != NetworkSettings.model_fields["backbone"].default:  # its packages cost seconds to import
        from kd_yolo.reid.model.backbones import full_name

        full_name(name)


def place_of(key: str) -> tuple[str | None, str]:
    """Section and name of a key as it is typed.

    Raises:
        ConfigError: no section has it, or several have.
    """
    section, dot, name = key.partition(".")
    if key in WITHOUT_SECTION:
        return None, key
    if dot:
        if section not in SECTIONS:
            raise ConfigError(f"unknown section {shown(section)} in {shown(key)}.{nearest(section, SECTIONS)}")
        return section, name
    homes = [part for part, model in SECTIONS.items() if key in model.model_fields]
    if len(homes) == 1:
        return homes[0], key
    if homes:
        raise ConfigError(f"'{key}' is in several sections: write {' or '.join(f'{home}.{key}' for home in homes)}.")
    known = sorted({*WITHOUT_SECTION, *(name for model in SECTIONS.values() for name in model.model_fields)})
    raise ConfigError(f"unknown key {shown(key)}.{nearest(key, known)}")
