"""How good found parent links are: precision, recall and F1, summed over images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.geometry.boxes import Ints, as_boxes, iou_pairs
from kd_yolo.geometry.forest import as_parents, whole_numbers

IOU_MIN = 0.5  # as detections are matched for mAP50


@dataclass(frozen=True)
class RelationMetrics:
    """Counts of one image, or of several added up with ``+`` or ``sum(rows, RelationMetrics())``.

    Only links count: a box without a parent (-1) is no link. A true root that is given a parent costs precision, a
    true child that is given none costs recall, a root found as a root counts nowhere.

    Args:
        correct: predicted links whose child and parent are matched to a true child and its true parent.
        predicted: predicted links.
        true: true links.
        undetected: true links whose child or parent is a missed box; no rule for parents can find them.
        matched: boxes that were matched.
        missed: true boxes without a predicted one.
        extra: predicted boxes without a true one.
    """

    correct: int = 0
    predicted: int = 0
    true: int = 0
    undetected: int = 0
    matched: int = 0
    missed: int = 0
    extra: int = 0

    def __add__(self, other: RelationMetrics) -> RelationMetrics:
        return RelationMetrics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def precision(self) -> float:
        """Share of the predicted links that are right; without any 1 if there is no true link either, else 0."""
        return self.correct / self.predicted if self.predicted else float(self.true == 0)

    @property
    def recall(self) -> float:
        """Share of the true links that were found; without any 1 if none was predicted either, else 0."""
        return self.correct / self.true if self.true else float(self.predicted == 0)

    @property
    def f1(self) -> float:
        """Harmonic mean of both, from the counts; 1 where there is no link in truth or prediction."""
        both = self.predicted + self.true
        return 2 * self.correct / both if both else 1.0


@dataclass(frozen=True)
class Relations:
    """The boxes of one image and their parents.

    Args:
        boxes_xyxy: (M,4).
        parents: index of each box's parent, -1 for none.
        classes: class id of each box; None when only places count.
    """

    boxes_xyxy: npt.ArrayLike
    parents: npt.ArrayLike
    classes: npt.ArrayLike | None = None


@dataclass(frozen=True)
class RelationReport:
    """Scores of a set.

    Args:
        total: counts of all images together: an image weighs as much as it has links.
        rows: name and counts of each image.
    """

    total: RelationMetrics
    rows: tuple[tuple[str, RelationMetrics], ...] = field(repr=False)

    def __str__(self) -> str:
        total = self.total
        return (
            f"parent links: precision {total.precision:.3f}, recall {total.recall:.3f}, F1 {total.f1:.3f}"
            f" ({total.correct} right of {total.predicted} predicted and {total.true} true"
            f" in {len(self.rows)} images; {total.undetected} true links lost with undetected boxes;"
            f" boxes: {total.matched} found, {total.missed} missed, {total.extra} extra)"
        )


def evaluate_relations(samples: Iterable[tuple[str, Relations, Relations]], iou_min: float = IOU_MIN) -> RelationReport:
    """Scores predicted parents on a set of images.

    Args:
        samples: name, truth and prediction of each image. Classes are compared where both have them.
        iou_min: see :func:`relation_metrics`.

    Raises:
        InputError: boxes, parents or classes that do not fit together; the image is named.
        ConfigError: ``iou_min`` outside (0, 1].
    """
    rows = []
    for name, truth, found in samples:
        classes = None
        if found.classes is not None and truth.classes is not None:
            classes = (found.classes, truth.classes)
        try:
            row = relation_metrics(
                found.boxes_xyxy, found.parents, truth.boxes_xyxy, truth.parents, iou_min, classes=classes
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        rows.append((name, row))
    return RelationReport(sum((row for _, row in rows), RelationMetrics()), tuple(rows))


def relation_metrics(
    pred_boxes: npt.ArrayLike,
    pred_parents: npt.ArrayLike,
    true_boxes: npt.ArrayLike,
    true_parents: npt.ArrayLike,
    iou_min: float = IOU_MIN,
    *,
    classes: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> RelationMetrics:
    """Scores the parent links of one image.

    Boxes are matched one to one, the pair with the largest IoU first, as detections are for mAP. A predicted link is
    right when its child is matched to a true box and its parent to that box's true parent.

    Args:
        pred_boxes: (M,4), x0, y0, x1, y1.
        pred_parents: (M,), -1 for none.
        true_boxes: (N,4).
        true_parents: (N,), -1 for none.
        iou_min: least IoU of a match, in (0, 1].
        classes: class ids of the predicted (M,) and of the true boxes (N,): then only equal classes match.

    Raises:
        InputError: boxes that are none, parents or classes that do not fit them.
        ConfigError: ``iou_min`` outside (0, 1].
    """
    if not 0 < iou_min <= 1:
        raise ConfigError(f"iou_min {iou_min}, expected an intersection over union in (0, 1], such as {IOU_MIN}.")
    pred_m4, true_n4 = as_boxes(pred_boxes, "predicted boxes"), as_boxes(true_boxes, "true boxes")
    pred_m = as_parents(pred_parents, len(pred_m4), "predicted parents")
    true_n = as_parents(true_parents, len(true_n4), "true parents")
    pairs = iou_pairs(pred_m4, true_n4, iou_min)
    if classes is not None:
        pred_ids = whole_numbers(classes[0], len(pred_m4), "predicted classes")
        true_ids = whole_numbers(classes[1], len(true_n4), "true classes")
        same = pred_ids[pairs[0]] == true_ids[pairs[1]]
        pairs = pairs[0][same], pairs[1][same], pairs[2][same]
    match_m = _match(*pairs, len(pred_m4))
    child = np.flatnonzero((pred_m >= 0) & (match_m >= 0))
    owner = match_m[pred_m[child]]
    found_n = np.isin(np.arange(len(true_n4)), match_m)
    linked = true_n >= 0
    num_matched = int((match_m >= 0).sum())
    return RelationMetrics(
        correct=int(((owner >= 0) & (owner == true_n[match_m[child]])).sum()),
        predicted=int((pred_m >= 0).sum()),
        true=int(linked.sum()),
        undetected=int((~found_n[linked] | ~found_n[true_n[linked]]).sum()),
        matched=num_matched,
        missed=len(true_n4) - num_matched,
        extra=len(pred_m4) - num_matched,
    )


def _match(pred_p: Ints, true_p: Ints, iou_p: npt.NDArray[np.float64], num_pred: int) -> Ints:
    """The true box (M,) of each predicted one, -1 for none: best pair first, then the lower numbers."""
    match_m, taken = np.full(num_pred, -1), set[int]()
    for place in np.lexsort((true_p, pred_p, -iou_p)):
        i, j = int(pred_p[place]), int(true_p[place])
        if match_m[i] < 0 and j not in taken:
            match_m[i] = j
            taken.add(j)
    return match_m
