"""The compiler: a cache that cannot be written does not matter."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest

from kd_yolo.reid.evaluation import compiled as compiled_module
from kd_yolo.reid.evaluation.compiled import compiled


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
