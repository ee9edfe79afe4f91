"""Parents as a list of indices, -1 for none: checks, and how deep each node lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.geometry.boxes import Ints


def whole_numbers(values: npt.ArrayLike, count: int, what: str) -> Ints:
    """One whole number a box.

    Args:
        values: (M,).
        count: M.
        what: how the error calls them, such as "classes".

    Raises:
        InputError: another number of values, or fractions.
    """
    array = np.asarray(values).reshape(-1)
    if len(array) != count:
        raise InputError(f"{len(array)} {what} for {count} boxes: expected one each.")
    if count and not (array.dtype.kind in "biuf" and np.array_equal(array, np.round(array))):
        raise InputError(f"{what} are not whole numbers: {array[:5].tolist()}.")
    return array.astype(np.int64)


def as_parents(parents: npt.ArrayLike, count: int, what: str = "parents") -> Ints:
    """Parents of ``count`` boxes, each -1 or the index of another box.

    Raises:
        InputError: they are not.
    """
    found = whole_numbers(parents, count, what)
    bad = np.flatnonzero((found < -1) | (found >= count) | (found == np.arange(count)))
    if len(bad):
        raise InputError(
            f"{what}[{bad[0]}] is {found[bad[0]]}, expected -1 (none) or the index of another box, 0..{count - 1}."
        )
    return found


def find_cycle(parents_m: Ints) -> list[int]:
    """Nodes that are each other's ancestors, child before parent; empty when the parents form a forest."""
    state = [0] * len(parents_m)  # 0 not seen, 1 on the current path, 2 leads to a root
    for start in range(len(parents_m)):
        path, node = [], start
        while node >= 0 and state[node] == 0:
            state[node] = 1
            path.append(node)
            node = int(parents_m[node])
        if node >= 0 and state[node] == 1:
            return path[path.index(node) :]
        for seen in path:
            state[seen] = 2
    return []


def check_forest(parents_m: Ints) -> None:
    """Ends where nodes are each other's ancestors.

    Raises:
        InputError: they are.
    """
    cycle = find_cycle(parents_m)
    if cycle:
        named = ", ".join(map(str, cycle))
        raise InputError(f"boxes {named} are each other's parents: expected none above the topmost.")


def depths(parents_m: Ints) -> Ints:
    """Number of ancestors (M,) of each node.

    Raises:
        InputError: nodes are each other's ancestors.
    """
    check_forest(parents_m)
    found, owner = np.zeros(len(parents_m), np.int64), parents_m.copy()
    while (owner >= 0).any():
        found += owner >= 0
        owner = np.where(owner >= 0, parents_m[owner], -1)
    return found
