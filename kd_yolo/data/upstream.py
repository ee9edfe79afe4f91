"""Where ultralytics keeps data sets and the YAMLs that it ships, found without importing it."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import read_json_value

_SETTINGS = Path("Ultralytics", "settings.json")


def datasets_dir() -> Path:
    """The folder from which ultralytics counts a relative ``path:`` that is nowhere else (``yolo settings``)."""
    loaded = getattr(sys.modules.get("ultralytics.utils"), "DATASETS_DIR", None)
    if loaded is not None:
        return Path(loaded)
    try:
        settings = read_json_value(_config_folder() / _SETTINGS, limit=1 << 20)
    except InputError:
        settings = None
    said = settings.get("datasets_dir") if isinstance(settings, dict) else None
    # Without settings ultralytics takes the folder beside the checkout that it runs in, else the one below.
    return Path(said) if isinstance(said, str) and said else Path("datasets").absolute()


def _config_folder() -> Path:
    own = os.environ.get("YOLO_CONFIG_DIR")
    if own:
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path.home() / "AppData" / "Roaming"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def shipped_yaml(name: str) -> Path | None:
    """The data YAML of this name that ultralytics ships (``coco8.yaml``, or ``coco8`` for short); None if it has none.

    Ultralytics itself looks for the name in all of its package; data YAMLs lie in one folder of it.
    """
    if not re.fullmatch(r"[\w.\- ]{1,100}", name):
        return None
    found = importlib.util.find_spec("ultralytics")
    for place in (found.submodule_search_locations if found else None) or ():
        folder = Path(place, "cfg", "datasets")
        for file in (folder / name, folder / f"{name}.yaml"):
            if file.suffix == ".yaml" and file.is_file():
                return file
    return None


def is_shipped(file: Path) -> bool:
    """Whether a file is one of those YAMLs."""
    shipped = shipped_yaml(file.name)
    return shipped is not None and shipped.resolve() == file.resolve()
