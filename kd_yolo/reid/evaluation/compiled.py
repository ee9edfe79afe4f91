"""The compiler of the inner loops of this folder: numba, an optional dependency.

A kernel calls only kernels of its own file: numba's cache on disk notices changes of that file alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from kd_yolo.base.extras import require

numba = require("numba", purpose="evaluating person re-identification")
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(*, reorder_sums: bool = False, no_nan: bool = False) -> Callable[[Kernel], Kernel]:
    """Compiles a function on its first call; the machine code is kept on disk where a folder can be written.

    Args:
        reorder_sums: sums may be added up in any order and products fused into them, which makes sums fast. Sums of
            whole numbers below 2**24 stay exact in float32.
        no_nan: there are no NaN among the values, which makes minima fast; without it NaN keep their meaning.

    Returns:
        A decorator.
    """
    flags = {"contract"} | ({"reassoc", "nsz"} if reorder_sums else set()) | ({"nnan", "nsz"} if no_nan else set())

    def compile_(function: Kernel) -> Kernel:
        options: dict[str, Any] = {"fastmath": flags, "error_model": "numpy", "nogil": True}
        try:
            return cast(Kernel, numba.njit(cache=True, **options)(function))
        except RuntimeError:  # no folder for the cache: numba says so when it decorates
            return cast(Kernel, numba.njit(**options)(function))

    return compile_
