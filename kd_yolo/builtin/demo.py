"""The built-in set of the demo, drawn when it is not there."""

from __future__ import annotations

from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.places import project_folder
from kd_yolo.builtin.street_set import make_street

DATA_DEFAULTS: dict[str, Any] = {"imgsz": 192}


def demo_data(*, write: bool) -> tuple[str, dict[str, Any]]:
    """The built-in set, drawn into ``datasets/street-demo`` when it is not there.

    Args:
        write: may it be drawn.

    Returns:
        Its data YAML and the training arguments that fit it.

    Raises:
        InputError: it is not there and may not be drawn.
    """
    folder = project_folder("datasets") / "street-demo"
    if not write and not (folder / "data.yaml").is_file():
        raise InputError(f"no data=, and {folder} is not drawn yet: kd-yolo data make street --preset demo")
    return str(make_street(folder, "demo").data_yaml), dict(DATA_DEFAULTS)
