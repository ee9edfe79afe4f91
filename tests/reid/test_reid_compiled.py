"""A missing optional dependency is told with its install line; a cache that cannot be written does not matter."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest

from kd_yolo.errors import MissingDependencyError
from kd_yolo.reid.evaluation import compiled as compiled_module
from kd_yolo.reid.evaluation.compiled import compiled, require


def test_missing_package_is_told() -> None:
    with pytest.raises(MissingDependencyError, match=r"needs no_such_package, .* pip install 'kd-yolo\[reid\]'"):
        require("no_such_package.part")
    assert MissingDependencyError.exit_code == 5


def test_no_folder_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    njit: Callable[..., Any] = compiled_module.numba.njit

    def refuse(*args: Any, **options: Any) -> Any:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(compiled_module.numba, "njit", refuse)

    @compiled()
    def total(values: Any) -> float:
        return float(builtins.sum(values))

    assert total.py_func([1.0]) == 1.0
