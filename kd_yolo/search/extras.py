"""The packages of the ``search`` extra, imported where they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kd_yolo.errors import MissingDependencyError


def require(module: str, package: str | None = None, extra: str = "search") -> Any:
    """Imports a module of an optional package.

    Args:
        module: what to import.
        package: what the package is called where that differs.
        extra: the extra of this package that has it.

    Raises:
        MissingDependencyError: it is not installed; says the install line.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"this needs {package or module.split('.')[0]}, which is not installed: pip install 'kd-yolo[{extra}]',"
            " then run the command again."
        ) from error
