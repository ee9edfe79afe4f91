"""What is checked of the paths that a user typed, and where weights are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.places import find_weights
from kd_yolo.base.reading import shown
from kd_yolo.cli.flags import Flags, typed_flags
from kd_yolo.search.settings import DetectorSettings

MAX_NAME, MAX_PATH = 255, 4095  # bytes, as Linux has them


def check_names(flags: Flags) -> None:
    """Checks that every path that a user typed can be one.

    Args:
        flags: their paths, and their texts and lists of them that may be paths.

    Raises:
        InputError: a NUL in it, or a name that is too long for any file.
    """
    for flag, value in typed_flags(flags).items():
        for one in value if isinstance(value, tuple | list) else (value,):
            text = str(one)
            if not isinstance(one, str | Path) or "://" in text:
                continue
            longest = max(len(os.fsencode(part)) for part in text.split("/"))
            if "\0" in text or len(text) > MAX_PATH or longest > MAX_NAME:
                raise InputError(f"{flag} {shown(text)} cannot be a path: too long, or with a NUL.")


def check_folder(folder: Path | None) -> None:
    """Raises a ConfigError for a folder of results that is a file."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file: name a folder for the results.")


def find_detector(settings: DetectorSettings) -> DetectorSettings:
    """The settings with the path of the weights, which are looked for as :func:`find_weights` does."""
    return settings.model_copy(update={"weights": find_weights(settings.weights)})


def parse_detector(given: dict[str, Any], prog: str) -> DetectorSettings:
    """The detector that was typed, see :func:`find_detector`.

    Raises:
        ConfigError: what is wrong with the settings.
    """
    return find_detector(DetectorSettings.parse(given, prog))
