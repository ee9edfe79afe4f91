"""Which box is whose parent: found from the boxes alone, scored against the truth, drawn.

The parent of a box is the smallest box that contains it; -1 stands for none. Scores are in
:mod:`kd_yolo.geometry.relation_score`, drawing is in :mod:`kd_yolo.geometry.relation_draw`; their names are here too.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.geometry.boxes import PAIRS_AT_ONCE, Floats, Ints, as_boxes, box_areas, overlaps
from kd_yolo.geometry.forest import as_parents, whole_numbers
from kd_yolo.geometry.relation_draw import draw_relations
from kd_yolo.geometry.relation_score import (
    RelationMetrics,
    RelationReport,
    Relations,
    evaluate_relations,
    relation_metrics,
)

__all__ = [
    "SHARE_MIN",
    "RelationMetrics",
    "RelationReport",
    "Relations",
    "draw_relations",
    "evaluate_relations",
    "find_parent_nodes",
    "learn_allowed_pairs",
    "relation_metrics",
]
# More inside than outside. On hand-drawn process diagrams this is the best share on the training images, on a flat
# top (0.3 to 0.9); when boxes are off by some percent, as a detector's are, larger shares lose children at borders:
# docs/benchmarks/relation_truth.json.
SHARE_MIN = 0.5
_ROUNDING = 1e-9  # areas that differ by less than this share count as equal


def find_parent_nodes(
    boxes_xyxy: npt.ArrayLike,
    *,
    share_min: float = SHARE_MIN,
    classes: npt.ArrayLike | None = None,
    allowed_kk: npt.ArrayLike | None = None,
) -> list[int]:
    """Finds the parent of each box: the smallest box that contains it.

    A box contains another when it is larger and at least ``share_min`` of the other's area is inside. Areas grow from
    child to parent, so there are no cycles: the parents form a forest. Boxes of equal area are never each other's
    parents; equal boxes get the same parent. Among containers of equal area the one further left is taken, then the
    one further up, then the one with the smaller x1. So the order of the boxes decides only between equal containers:
    there the first is the parent. A box without area is contained by what it touches.

    Args:
        boxes_xyxy: (M,4) in any unit.
        share_min: least share of the child's area inside the parent, in (0, 1].
        classes: class id (M,) of each box; with ``allowed_kk``.
        allowed_kk: [i, j] says whether a box of class i may have a parent of class j, such as
            :func:`learn_allowed_pairs` gives.

    Returns:
        The index of each box's parent, -1 for none.

    Raises:
        InputError: boxes that are none, or classes that do not fit them.
        ConfigError: ``share_min`` outside (0, 1], or only one of ``classes`` and ``allowed_kk``.
    """
    if not 0 < share_min <= 1:
        raise ConfigError(
            f"share_min {share_min}, expected a share of the child's area in (0, 1], such as {SHARE_MIN}."
        )
    boxes = as_boxes(boxes_xyxy)
    if not len(boxes):
        return []
    may_be_parent = _pair_test(len(boxes), classes, allowed_kk)
    areas = box_areas(boxes)
    order = np.lexsort((boxes[:, 2], boxes[:, 1], boxes[:, 0], areas))  # stable: equal boxes stay in their order
    parents = np.full(len(boxes), -1)
    step = max(1, PAIRS_AT_ONCE // len(boxes))
    for start in range(0, len(boxes), step):
        children, candidates = order[start : start + step], order[start:]
        fits = _contains(boxes[candidates], areas[candidates], boxes[children], areas[children], share_min)
        if may_be_parent is not None:
            fits &= may_be_parent[0][may_be_parent[1][children]][:, may_be_parent[1][candidates]]
        first = fits.argmax(1)
        parents[children] = np.where(fits.any(1), candidates[first], -1)
    return [int(parent) for parent in parents]


def _contains(
    boxes_n4: Floats, areas_n: Floats, children_m4: Floats, areas_m: Floats, share_min: float
) -> npt.NDArray[np.bool_]:
    """Whether each child (M) lies in each box (N), (M,N)."""
    width, height = overlaps(children_m4, boxes_n4)
    inside = (width >= 0) & (height >= 0)
    inside &= width * height >= (share_min * (1 - _ROUNDING)) * areas_m[:, None]
    inside &= areas_n > areas_m[:, None] * (1 + _ROUNDING)
    return inside


def _pair_test(
    num_boxes: int, classes: npt.ArrayLike | None, allowed_kk: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.bool_], Ints] | None:
    """The table of class pairs and the checked classes."""
    if classes is None and allowed_kk is None:
        return None
    if classes is None or allowed_kk is None:
        raise ConfigError("classes and allowed_kk belong together: give both, or none to go by the boxes alone.")
    table, ids = np.asarray(allowed_kk, bool), whole_numbers(classes, num_boxes, "classes")
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ConfigError(f"allowed_kk has shape {table.shape}, expected (K,K): a row a child class.")
    if ids.min() < 0 or ids.max() >= len(table):
        raise InputError(f"classes are in {ids.min()}..{ids.max()}, allowed_kk knows 0..{len(table) - 1}.")
    return table, ids


def learn_allowed_pairs(
    images: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]], num_classes: int
) -> npt.NDArray[np.bool_]:
    """Which class occurs as whose parent in known diagrams, for :func:`find_parent_nodes`.

    Args:
        images: classes (M,) and parents (M,) of each image.
        num_classes: K.

    Returns:
        (K,K), [child class, parent class].
    """
    allowed_kk = np.zeros((num_classes, num_classes), bool)
    for classes, parents in images:
        count = np.size(classes)
        ids, owners = whole_numbers(classes, count, "classes"), as_parents(parents, count)
        linked = owners >= 0
        allowed_kk[ids[linked], ids[owners[linked]]] = True
    return allowed_kk
