"""Reads ultralytics' label caches (``labels/train.cache``) without running what is in them.

They are pickles that lie in the data set, so a stranger's data set brings them along; ultralytics opens them without
any limit. Here a cache may hold plain values and arrays. Any other is read as if it were not there: ultralytics then
scans the labels and writes a new one.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import regular_file

MAX_BYTES = 8 << 30
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"{core}.multiarray", name) for core in ("numpy.core", "numpy._core") for name in ("_reconstruct", "scalar")),
    *((f"{core}.numeric", "_frombuffer") for core in ("numpy.core", "numpy._core")),
}


class _Unpickler(pickle.Unpickler):
    """Knows arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a label cache")
        return super().find_class(module, name)


def load_label_cache(path: str | Path) -> dict[str, Any]:
    """Stands in for ``ultralytics.data.utils.load_dataset_cache_file``, which unpickles whatever is there.

    Raises:
        InputError: no file, or one that is no label cache; ultralytics then scans the labels again.
    """
    file = regular_file(path, "label cache")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"label cache {file} is too large.")
    try:
        with file.open("rb") as stream:
            found = _read(stream)
    except Exception as error:  # a pickle may raise anything
        raise InputError(f"label cache {file} cannot be read: {str(error)[:200]}") from None
    if not isinstance(found, dict) or not _is_whole(found):
        raise InputError(f"{file} is no label cache.")
    return found


def _read(stream: BinaryIO) -> Any:
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read_header(stream)  # type: ignore[no-untyped-call]
    if shape != () or dtype != np.dtype(object):
        raise ValueError("not one object")
    array = _Unpickler(stream).load()
    return np.asarray(array, dtype=object).reshape(()).item()


def _is_whole(cache: dict[str, Any]) -> bool:
    """Whether it has what ultralytics reads of it, so that a half one does not end a training."""
    results, labels = cache.get("results"), cache.get("labels", cache.get("samples"))
    has_results = isinstance(results, tuple | list) and len(results) >= 3
    return has_results and isinstance(cache.get("msgs"), list) and (labels is None or isinstance(labels, list))
